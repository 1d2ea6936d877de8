"""`tuneonce gc`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.factories import (
    H100,
    let_age,
    make_key,
    make_part,
    put_kept,
    put_part,
    put_variants,
    put_verdict,
)
from tests.unit.cli.test_rm import Terminal
from tuneonce.model.profiles import UsedKey
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import AsNobody, Tell

TIMES = {64: (0.2,), 128: (0.1,)}
DAY = 24 * 3600.0


def records(store: FileStore) -> set[str]:
    return set(store.list(""))


@pytest.fixture
def full(store: FileStore) -> FileStore:
    """Keys that were written 90, 40 and 0 days ago; the first one was used yesterday."""
    used = make_key("used")
    let_age(store, put_verdict(store, used, TIMES), days=90)
    add = make_key("add", product=H100)
    let_age(store, put_verdict(store, add, TIMES), put_variants(store, add, *TIMES), days=40)
    put_verdict(store, make_key("new"), TIMES)
    at = time.time() - DAY
    part = make_part("vllm 1", at=at)
    key = UsedKey("kernels:used", f"{used.directory}/c02.x.verdict.json", "w", "serving", [], at)
    let_age(store, put_part(store, msgspec.structs.replace(part, keys=[key])), days=1)
    return store


def test_gc_wants_a_yes(tell: Tell, full: FileStore) -> None:
    said = tell("gc", "--unused-for", "30d")
    assert said.code == 2
    assert [line.split()[:3] for line in said.out.splitlines() if line.startswith("add")] == [
        ["add", "NVIDIA-H100-90", "1"]
    ]
    assert "1 key to be removed" in said.out
    assert "40 d ago" in said.out
    assert len(said.err.splitlines()) == 1
    assert "--yes" in said.err
    assert len(records(full)) == 5


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--unused-for", "30d"], {"used", "new", "vllm"}),
        (["--unused-for", "12h"], {"new"}),
        (["--older-than", "30d"], {"new", "vllm"}),
        (["--older-than", "60d"], {"add", "new", "vllm"}),
        (["--older-than", "60d", "--unused-for", "30d"], {"used", "add", "new", "vllm"}),
        (["--world", "*h100"], {"used", "new", "vllm"}),
        (["--world", "nvidia h100", "--older-than", "50d"], {"used", "add", "new", "vllm"}),
        (["--size", "1GB"], {"used", "add", "new", "vllm"}),
        (["--size", "0MB"], {"new"}),
        (["--older-than", "2000-01-01"], {"used", "add", "new", "vllm"}),
    ],
)
def test_gc_selects(tell: Tell, full: FileStore, words: list[str], left: set[str]) -> None:
    before = records(full)
    tried = tell("gc", *words, "--dry-run", "--json").json
    assert records(full) == before
    said = tell("gc", *words, "--yes")
    assert said.code == 0
    assert {name.split("/")[1].partition("~")[0] for name in records(full)} == left
    assert tried["removed"] is None
    keys = sum(one["kind"] == "key" for one in tried["going"])
    assert (f"{keys} key" in said.out) is (keys > 0)


def test_gc_dry_run_says_what_would_go(tell: Tell, full: FileStore) -> None:
    said = tell("gc", "--unused-for", "30d", "--dry-run")
    assert (said.code, said.err) == (0, "")
    assert "1 key to be removed" in said.out
    found = tell("gc", "--unused-for", "30d", "--dry-run", "--json").json
    assert found["schema"] == "tuneonce.gc/1"
    [one] = found["going"]
    assert (one["kernel"], one["files"]) == ("add", 2)
    assert one["bytes"] == found["bytes"] - found["bytes_after"]
    assert found["kinds"]["verdicts"]["files"] == 3
    assert len(records(full)) == 5


def test_gc_json_tells_what_has_gone(tell: Tell, full: FileStore) -> None:
    said = tell("gc", "--unused-for", "30d", "--json")
    assert (said.code, said.json["removed"]) == (2, None)
    said = tell("gc", "--unused-for", "30d", "--json", "--yes")
    assert (said.code, said.err) == (0, "")
    assert said.json["removed"]["keys"] == 1
    assert said.json["removed"]["bytes"] == said.json["bytes"] - said.json["bytes_after"]


def test_gc_without_a_criterion_says_what_can_be_asked(tell: Tell, full: FileStore) -> None:
    said = tell("gc", "--yes")
    assert said.code == 2
    assert "verdicts" in said.out
    for word in ("--older-than", "--unused-for", "--size", "--world", "TUNEONCE_STORE_LIMIT"):
        assert word in said.err
    assert len(records(full)) == 5


def test_gc_without_a_criterion_brings_the_store_to_its_limit(
    tell: Tell, full: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tell("gc", "--dry-run", "--json", "--size", "1GB").json["bytes"]
    monkeypatch.setenv("TUNEONCE_STORE_LIMIT", f"{(whole - 1) / 1024:.6f}KB")
    assert tell("gc", "--yes").code == 0
    assert not any("/add~" in name for name in records(full))
    assert any("/used~" in name for name in records(full))
    monkeypatch.setenv("TUNEONCE_STORE_LIMIT", "1")
    said = tell("gc", "--yes")
    assert (said.code, "TUNEONCE_STORE_LIMIT" in said.err) == (2, True)


def test_gc_says_when_the_rest_may_not_go(tell: Tell, full: FileStore) -> None:
    said = tell("gc", "--size", "0MB", "--yes")
    assert "1 written within the last minutes" in said.out
    assert "nothing else may go" in said.out


def test_gc_removes_what_is_left_over(tell: Tell, full: FileStore) -> None:
    place = put_kept(full, "ABCDEFGH", "IJKLMNOP")
    let_age(full, str(place / "ABCDEFGH.zip"))
    said = tell("gc", "--older-than", "1000d", "--yes")
    assert "left over: binaries: 1 file" in said.out
    assert "1 left over removed" in said.out
    assert [path.name for path in place.iterdir()] == ["IJKLMNOP.zip"]


@pytest.mark.parametrize(
    "words",
    [
        ["--size", "500"],
        ["--size", "-1MB"],
        ["--older-than", "30"],
        ["--unused-for", "long"],
        ["--older-than", "3000-01-01"],
        ["add"],
    ],
)
def test_gc_refuses_what_it_cannot_mean(tell: Tell, full: FileStore, words: list[str]) -> None:
    said = tell("gc", *words, "--yes")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert len(records(full)) == 5


def test_gc_where_there_is_nothing(tell: Tell, store: FileStore) -> None:
    assert tell("gc", "--size", "1MB").code == 1
    Path(store.describe().location).mkdir()
    said = tell("gc", "--size", "1MB")
    assert (said.code, "Nothing to remove" in said.out) == (0, True)


def test_gc_of_a_store_that_is_only_read(
    tell: Tell, full: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{full.describe().url}?readonly=1"
    said = tell("gc", "--size", "0MB", "--yes", "--store", url)
    assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1)
    assert "nothing can be removed" in said.err
    assert tell("gc", "--size", "0MB", "--dry-run", "--store", url).code == 0

    def refuse(root: str) -> float:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tuneonce.store.walking.clock", refuse)
    said = tell("gc", "--size", "0MB", "--yes")
    assert (said.code, "Read-only file system" in said.err) == (1, True)
    assert len(records(full)) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other users")
def test_gc_leaves_other_users_files_and_counts_them(
    tell: Tell, place: Path, as_nobody: AsNobody
) -> None:
    store = FileStore(place / "store")
    names = [put_verdict(store, make_key(name), TIMES) for name in ("theirs", "ours")]
    let_age(store, *names)
    for path in (place / "store", *(place / "store").rglob("*")):
        os.chown(path, 65534, 65534)
    os.chown(place / "store" / names[0], 1234, 1234)
    where = str(place / "store")
    tell("gc", "--older-than", "30d", "--dry-run", "--store", where)  # all is imported
    with as_nobody():
        said = tell("gc", "--older-than", "30d", "--yes", "--store", where)
    assert (said.code, said.err) == (0, "")
    assert "1 left to other users" in said.out
    assert "1 key removed" in said.out
    assert list(store.list("v1/")) == [names[0]]


def test_gc_tells_of_a_remote(tell: Tell, full: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEONCE_REMOTE", "redis://user:secret@host")
    said = tell("gc", "--older-than", "30d", "--yes")
    assert "comes back with the next `tuneonce pull`" in said.out
    assert "secret" not in said.out + said.err
    assert "pull" in tell("gc", "--older-than", "30d", "--dry-run", "--json").json["note"]


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 3), ("\n", 1, 5)])
def test_gc_asks_where_somebody_can_answer(
    tell: Tell,
    full: FileStore,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
    left: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    said = tell("gc", "--unused-for", "30d")
    assert (said.code, len(records(full))) == (code, left)
    assert "[y/N]" in said.out


def test_gc_looks_again_once_it_was_answered(
    tell: Tell, full: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was used or written while the question was open stays."""
    key = make_key("add", product=H100)

    class Slow(Terminal):
        def readline(self, *size: int) -> str:  # type: ignore[override]
            at = time.time()
            name = f"{key.directory}/c02.x.verdict.json"
            used = UsedKey("kernels:add", name, "w", "serving", [], at)
            put_part(full, msgspec.structs.replace(make_part(start="now", at=at), keys=[used]))
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Slow())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    said = tell("gc", "--unused-for", "30d")
    assert said.code == 0
    assert any("/add~" in name for name in records(full))
