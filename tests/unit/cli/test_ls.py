"""`tuneonce ls`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.factories import (
    H100,
    make_key,
    make_part,
    make_verdict,
    measured,
    process,
    put_kept,
    put_loose,
    put_part,
    put_verdict,
    put_wanted,
    resolved,
    write_events,
)
from tuneonce.cli._render import size
from tuneonce.model.records import Sighting, pack
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2, 0.19, 0.21), 128: (0.1, 0.09, 0.11), 256: ()}


def test_ls_groups_kernels_worlds_and_keys(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    put_verdict(store, make_key(product=H100), TIMES, origin="stock-cache")
    put_verdict(store, make_key("mul"), TIMES, work_class="cxx")
    said = tell("ls")
    assert said.code == 0
    lines = [line.rstrip() for line in said.out.splitlines()]
    add, mul = lines.index("kernels:add"), lines.index("kernels:mul")
    assert add < lines.index("NVIDIA H100 · cuda:90 · triton-3.6.0") < mul
    row = next(line for line in lines[add:mul] if "stock-cache" in line)
    for cell in ("n=64 x=bf16", "16–63 programs", "BLOCK=128 num_warps=4", "2.00×", " d"):
        assert cell in row
    assert "any size" in said.out
    assert "2 kernels, 3 verdicts" in said.out


@pytest.mark.usefixtures("terminal")
def test_ls_tells_of_candidates_that_are_wrong(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key("mul"), TIMES)
    assert "outputs" not in tell("ls").out
    key = make_key()
    wrong = measured(256, failed="wrong: its outputs are 0.2 from what the others write")
    verdict = make_verdict(key, TIMES)
    others = [m for m in verdict.measurements if m.candidate != wrong.candidate]
    verdict = msgspec.structs.replace(verdict, measurements=[*others, wrong])
    store.put(key.verdict_name("c02", verdict.candidates), pack(verdict))
    said = tell("ls")
    [row] = [line for line in said.out.splitlines() if "1 wrong" in line]
    assert "measured" in row
    assert len(row) <= 80
    assert "`tuneonce show KERNEL` tells which" in said.words
    assert [e["wrong"] for e in tell("ls", "--json").json["entries"]] == [1, 0]
    assert "wrong: its outputs are 0.2" in tell("show", "add").words


def test_ls_tells_where_candidates_disagree(tell: Tell, store: FileStore) -> None:
    key = make_key()
    verdict = make_verdict(key, TIMES)
    classes = {one: number for number, one in enumerate(verdict.candidates)}
    seen = Sighting(20, 1.0, 4096, classes, {verdict.winner: 0.5}, [], disagrees=True)
    verdict = msgspec.structs.replace(verdict, sightings=[seen])
    store.put(key.verdict_name("c02", verdict.candidates), pack(verdict))
    [row] = [line for line in tell("ls").out.splitlines() if "measured" in line]
    assert "disagree" in row


def test_ls_tells_versions_of_a_kernel_and_builds_of_a_compiler_apart(
    tell: Tell, store: FileStore
) -> None:
    one, edited = make_key(), make_key(source="f" * 16)
    rebuilt = make_key(compiler="triton-3.6.0-ba9876543210")
    for key in (one, edited, rebuilt):
        put_verdict(store, key, TIMES)
    out = tell("ls").out
    for key in (one, edited):
        assert f"kernels:add  {key.kernel.directory[3:]}" in out
    for key in (one, rebuilt):
        assert key.directory.split("/")[2].rpartition("~")[2] in out


def test_ls_json_is_stable_and_alone(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    said = tell("ls", "--json")
    assert (said.code, said.err) == (0, "")
    assert said.json["schema"] == "tuneonce.ls/1"
    (entry,) = said.json["entries"]
    assert entry["kernel"] == "kernels:add"
    assert entry["programs_class"] == [16, 63]
    assert entry["gain"] == pytest.approx(2.0)
    assert tell("ls", "--json").out == said.out
    assert said.out.isascii()


def test_ls_tells_sizes(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    put_verdict(store, make_key("mul"), TIMES)
    put_kept(store, "ABCDEFGH")
    files = Path(store.describe().location, "v1").rglob("*.json")
    whole = sum(path.stat().st_size for path in files)
    shown = f"{size(whole)}: verdicts {size(whole)}; and 1.0 KB of compiled binaries"
    assert shown in tell("ls").out
    held = tell("ls", "--json").json["held"]
    assert held["bytes"] == held["kinds"]["verdicts"]["bytes"] == whole
    assert held["kinds"]["binaries"] == {"files": 1, "bytes": 1000}
    worlds = {"/".join(make_key(name).directory.split("/")[1:3]) for name in ("add", "mul")}
    assert set(held["worlds"]) == worlds
    held = tell("ls", "mul", "--json").json["held"]
    assert set(held["kinds"]) == {"verdicts"}
    assert (held["kinds"]["verdicts"]["files"], len(held["worlds"])) == (1, 1)


def test_ls_of_an_empty_store(tell: Tell, store: FileStore) -> None:
    Path(store.describe().location).mkdir()
    said = tell("ls")
    assert said.code == 0
    assert store.describe().location in said.out
    assert "empty" in said.out
    assert tell("ls", "--json").json["entries"] == []
    assert tell("ls", "add").code == 0


def test_ls_with_a_pattern(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key("add"), TIMES)
    put_verdict(store, make_key("add_more"), TIMES)
    for pattern, kernels in (
        ("add", {"kernels:add"}),
        ("kernels:add*", {"kernels:add", "kernels:add_more"}),
        ("*more", {"kernels:add_more"}),
    ):
        entries = tell("ls", pattern, "--json").json["entries"]
        assert {entry["kernel"] for entry in entries} == kernels


def test_ls_names_an_unfinished_key_by_what_events_tell(
    tell: Tell, store: FileStore, events: Path
) -> None:
    key = make_key()
    put_loose(store, key, 64, 0.2)
    entry = tell("ls", "--json").json["entries"][0]
    assert (entry["key"], entry["kernel"]) == (None, "add")
    write_events(events, process(resolved(key, "miss")))
    entry = tell("ls", "kernels:*", "--json").json["entries"][0]
    assert (entry["key"]["n"], entry["kernel"]) == ("64", "kernels:add")
    out = tell("ls").out
    assert "unfinished" in out
    assert "(1 measured)" in out


@pytest.mark.parametrize("command", ["ls", "show"])
def test_a_corrupt_record_is_a_line(tell: Tell, store: FileStore, command: str) -> None:
    put_verdict(store, make_key(), TIMES)
    bad = put_verdict(store, make_key(tuning={"n": 1}), TIMES)
    store.put(bad, b"\x00\xff")
    arguments = [command, "add"] if command == "show" else [command]
    said = tell(*arguments)
    assert said.code == 0
    assert f"problem: {bad}: truncated" in said.out
    assert "n=64 x=bf16" in said.out
    assert tell(*arguments, "--json").json["problems"][0]["name"] == bad


def test_ls_wanted_lists_what_is_to_be_measured(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(tuning={"n": 64}), TIMES)
    put_wanted(store, make_key(tuning={"n": 128}), *TIMES)
    put_wanted(store, make_key("mul", tuning={"n": 32}), *TIMES, work_class="c05")
    said = tell("ls", "--wanted")
    assert said.code == 0
    lines = [line.rstrip() for line in said.out.splitlines()]
    assert lines.index("kernels:add") < lines.index("kernels:mul")
    assert [line.split()[0] for line in lines if line.startswith(("n=", " n="))] == [
        "n=128",
        "n=32",
    ]
    assert "2 keys to be measured" in said.words
    [one] = tell("ls", "mul", "--wanted", "--json").json["keys"]
    assert (one["key"], one["programs_class"], one["candidates"]) == ({"n": "32"}, [1024, 4095], 3)


def test_ls_wanted_says_that_there_are_none(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    assert "0 keys to be measured" in tell("ls", "--wanted").words


def test_ls_profiles_tells_programs_and_what_they_need(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    put_part(store, make_part("vllm 1", variants=("m:a", "m:b"), keys=("m:a",)))
    put_part(
        store, make_part("vllm 1", start="s2", at=1.7e9 + 9, complete=False, variants=("m:c",))
    )
    put_part(store, make_part("train 2", at=1.6e9))
    said = tell("ls", "--profiles")
    assert said.code == 0
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[1][:6] == ["vllm", "1", "2", "3", "3", "1"]
    assert rows[2][:6] == ["train", "2", "1", "1", "1", "0"]
    assert "2 profiles in" in said.words
    found = tell("ls", "--profiles", "--json").json
    assert found["schema"] == "tuneonce.profiles/1"
    assert found["problems"] == []
    assert found["profiles"][0] == {
        "name": "vllm 1",
        "starts": 2,
        "complete": 1,
        "variants": 3,
        "keys": 1,
        "kernels": 3,
        "parts": 2,
        "last_used": 1.7e9 + 9,
        "shared": 0,
    }


def test_ls_profiles_of_none_and_of_damaged_ones(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    assert "0 profiles in" in tell("ls", "--profiles").words
    name = put_part(store, make_part())
    store.put(name, b"{}")
    store.put("profiles/stray", b"")
    said = tell("ls", "--profiles", "--json")
    assert (said.code, said.json["profiles"]) == (0, [])
    assert [one["name"] for one in said.json["problems"]] == [name]
    assert tell("ls", "--profiles", "add").code == 2
