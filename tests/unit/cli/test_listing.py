"""`tuneonce ls` and `tuneonce show`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import (
    H100,
    leave_in_journal,
    make_key,
    process,
    put_loose,
    put_verdict,
    resolved,
    write_events,
)
from tuneonce.settings import read
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2, 0.19, 0.21), 128: (0.1, 0.09, 0.11), 256: ()}
LONG = "fla.ops.common.chunk_delta_h"


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


@pytest.mark.parametrize("command", ["ls", "show", "rm"])
def test_an_unknown_kernel(tell: Tell, store: FileStore, command: str) -> None:
    put_verdict(store, make_key("chunk_fwd_kernel"), TIMES)
    said = tell(command, "chunk_fwd_kernl", "--json")
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert "'chunk_fwd_kernl'" in said.err
    assert "did you mean chunk_fwd_kernel?" in said.err


def test_show_in_an_empty_store(tell: Tell, store: FileStore) -> None:
    Path(store.describe().location).mkdir()
    said = tell("show", "add")
    assert said.code == 2
    assert said.err.rstrip().endswith("it is empty")


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


@pytest.mark.parametrize("far", [False, True])
def test_what_a_killed_tuning_has_measured_is_shown_and_removed(
    tell: Tell, store: FileStore, far: bool
) -> None:
    put_verdict(store, make_key(), TIMES)
    location = store.describe().location
    folder = Path(location, ".journal")
    if far:
        near = read({**os.environ, "TUNEONCE_STORE": location}).journals
        assert near is not None
        folder = near
    for block in (64, 128):
        leave_in_journal(folder, make_key("mul"), block, 0.2)
    entries = tell("ls", "--json").json["entries"]
    assert [(e["kernel"], e["origin"], e["measured"]) for e in entries] == [
        ("kernels:add", "measured", 3),
        ("mul", None, 2),
    ]
    assert "unfinished: 2 measured" in tell("show", "mul").out
    assert tell("verify", "--json").json["measurements"] == 2
    said = tell("rm", "mul", "--yes", "--json").json
    assert (len(said["records"]), said["removed"]) == (2, 2)
    assert list(folder.iterdir()) == []
    assert len(tell("ls", "--json").json["entries"]) == 1


def test_show_draws_each_measurement(tell: Tell, store: FileStore) -> None:
    key = make_key()
    put_verdict(store, key, TIMES)
    put_loose(store, key, 512, 0.4, work_class="c03")
    said = tell("show", "kernels:add")
    assert said.code == 0
    lines = said.out.splitlines()
    winner = next(line for line in lines if line.startswith("*"))
    slower = next(line for line in lines if "BLOCK=64" in line)
    assert "BLOCK=128" in winner
    assert "0.09–0.11" in winner
    assert "(first)" in slower
    assert slower.count("█") == 2 * winner.count("█") == 16
    assert "did not run" in next(line for line in lines if "BLOCK=256" in line)
    assert "unfinished: 1 measured" in said.out
    assert "2.00× over the first candidate" in said.words


def test_show_of_what_was_written_this_moment(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES, at=time.time() + 60)
    assert "measured just now, tuned in 7.9 s" in tell("show", "add").words


def test_show_json(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    document = tell("show", "add", "--json").json
    assert document["schema"] == "tuneonce.show/1"
    (entry,) = document["entries"]
    assert [m["median_ms"] for m in entry["measurements"]] == [0.1, 0.2, None]
    assert [m["winner"] for m in entry["measurements"]] == [True, False, False]


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


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("words", [["ls"], ["show", "k" * 50], ["rm", "--all"]])
def test_tables_fit_eighty_columns(tell: Tell, store: FileStore, words: list[str]) -> None:
    tuning = {f"{name}.dtype": "torch.bfloat16" for name in ("q", "k", "v", "gates", "initial")}
    for n in (1, 10**9):
        put_verdict(store, make_key("k" * 50, module=LONG, tuning={"n": n, **tuning}), TIMES)
    said = tell(*words)
    location = store.describe().location
    assert max(len(line) for line in said.out.splitlines() if location not in line) <= 80


def test_in_a_pipe_each_record_is_one_row(tell: Tell, store: FileStore) -> None:
    tuning = {f"{name}.dtype": "torch.bfloat16" for name in ("q", "k", "v", "gates", "initial")}
    for n in range(3):
        put_verdict(store, make_key("k" * 50, module=LONG, tuning={"n": n, **tuning}), TIMES)
    rows = [line for line in tell("ls").out.splitlines() if "q=bf16" in line]
    assert [line.split()[0] for line in rows] == ["n=0", "n=1", "n=2"]
    assert all("initial=bf16" in line and "2.00×" in line for line in rows)
    shown = tell("show", "k" * 50).out.splitlines()
    assert len([line for line in shown if "BLOCK=128 num_warps=4" in line]) == 3
    (row,) = [line for line in tell("rm", "--all").out.splitlines() if "k" * 50 in line]
    assert row.split()[-3:] == ["3", "0", "0"]


def test_text_from_records_steers_no_terminal(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(module="evil\x1b[31m", tuning={"s": "[red]\x07\n"}), TIMES)
    for words in (["ls"], ["show", "add"], ["rm", "--all"]):
        out = tell(*words).out
        assert "evil\\x1b[31m" in out.replace("\n", "")
        assert not {char for char in out if not char.isprintable()} - {"\n"}
    assert "s=[red]\\x07\\n" in tell("ls").out


def test_store_option_and_variable(tell: Tell, store: FileStore, tmp_path: Path) -> None:
    other = FileStore(tmp_path / "other")
    put_verdict(other, make_key("mul"), TIMES)
    put_verdict(store, make_key("add"), TIMES)
    for address in (str(tmp_path / "other"), f"file://{tmp_path}/other?readonly=1"):
        document = tell("ls", "--json", "--store", address).json
        assert [entry["kernel"] for entry in document["entries"]] == ["kernels:mul"]
    assert tell("ls", "--json").json["entries"][0]["kernel"] == "kernels:add"
    os.environ["TUNEONCE"] = "perhaps"  # says whether a process takes part, not where
    assert tell("ls").code == 0


@pytest.mark.parametrize("address", ["ftp://host/x", "memory://x", "", "file://host/x"])
def test_a_wrong_address(tell: Tell, address: str) -> None:
    said = tell("ls", "--json", "--store", address)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1


def test_a_store_that_does_not_work(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = tell("ls", "--store", str(tmp_path / "file"))
    assert (said.code, len(said.err.splitlines())) == (1, 1)


def test_a_stdout_without_unicode(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    for words in (["ls"], ["show", "add"], ["ls", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "tuneonce", *words],
            env={
                **os.environ,
                "PYTHONIOENCODING": "ascii",
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"BLOCK=128" in done.stdout
    assert json.loads(done.stdout)["entries"]
