"""`tuneonce rm`."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import (
    H100,
    make_key,
    make_part,
    make_shared,
    put_kept,
    put_loose,
    put_part,
    put_shared,
    put_variants,
    put_verdict,
)
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


def records(store: FileStore) -> set[str]:
    return set(store.list("v1/"))


@pytest.fixture
def full(store: FileStore) -> FileStore:
    put_verdict(store, make_key("add"), TIMES)
    put_verdict(store, make_key("add", product=H100), TIMES, at=time.time())
    put_verdict(store, make_key("mul"), TIMES, origin="stock-cache")
    put_loose(store, make_key("mul"), 512, 0.1)
    return store


def test_rm_wants_a_yes(tell: Tell, full: FileStore) -> None:
    said = tell("rm", "add")
    assert said.code == 2
    assert "kernels:add" in said.out
    assert "2 records" in said.out
    assert len(said.err.splitlines()) == 1
    assert "--yes" in said.err
    assert len(records(full)) == 4


def test_rm_json_wants_a_yes_too(tell: Tell, full: FileStore) -> None:
    said = tell("rm", "add", "--json")
    assert said.code == 2
    assert (len(said.json["records"]), said.json["removed"]) == (2, 0)
    assert len(records(full)) == 4
    said = tell("rm", "add", "--json", "--yes")
    assert (said.code, said.json["removed"], said.json["changed"]) == (0, 2, 0)
    assert len(records(full)) == 2


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--all"], 0),
        (["kernels:mul"], 2),
        (["*"], 0),
        (["--all", "--world", "nvidia h100"], 3),
        (["add", "--world", "*H20"], 4),
        (["--all", "--older-than", "1"], 1),
        (["--all", "--older-than", "100000"], 4),
        (["--all", "--origin", "stock-cache"], 3),
    ],
)
def test_rm_selects(tell: Tell, full: FileStore, words: list[str], left: int) -> None:
    said = tell("rm", *words, "--yes")
    assert said.code == 0
    assert len(records(full)) == left
    assert (f"{4 - left} removed" if left < 4 else "Nothing to remove") in said.out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["add", "--all"],
        ["--world", "x"],
        ["--all", "--origin", "guessed"],
        ["--all", "--older-than", "-1"],
        ["--all", "--older-than", "nan"],
        ["--all", "--older-than", "long"],
    ],
)
def test_rm_refuses_what_it_cannot_mean(tell: Tell, full: FileStore, words: list[str]) -> None:
    said = tell("rm", *words, "--yes")
    assert (said.code, said.out) == (2, "")
    assert len(records(full)) == 4


def test_rm_in_an_empty_store(tell: Tell, store: FileStore) -> None:
    Path(store.describe().location).mkdir()
    said = tell("rm", "--all")
    assert said.code == 0
    assert "Nothing to remove" in said.out
    assert tell("rm", "add").code == 0


class Terminal(io.StringIO):
    """A keyboard on which somebody has typed already."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "code", "left"), [("y\n", 0, 2), ("YES\n", 0, 2), ("\n", 1, 4), ("", 1, 4)]
)
def test_rm_asks_where_somebody_can_answer(
    tell: Tell,
    full: FileStore,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
    left: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    said = tell("rm", "add")
    assert (said.code, len(records(full))) == (code, left)
    assert "[y/N]" in said.out


def test_rm_from_a_store_that_is_only_read(tell: Tell, full: FileStore) -> None:
    said = tell("rm", "--all", "--yes", "--store", f"{full.describe().url}?readonly=1")
    assert (said.code, len(said.err.splitlines())) == (1, 1)
    assert len(records(full)) == 4


@pytest.fixture
def fuller(full: FileStore) -> FileStore:
    put_variants(full, make_key("add"), 64, 128)
    put_part(full, make_part("vllm 1"))
    put_part(full, make_part("vllm 1", start="s2", at=time.time()))
    put_part(full, make_part("train 2"))
    put_shared(full, make_shared("train 2"))
    put_kept(full, "ABCDEFGH", "IJKLMNOP")
    return full


def files(store: FileStore) -> list[Path]:
    return [path for path in Path(store.describe().location).rglob("*") if path.is_file()]


def test_rm_all_leaves_nothing_from_which_a_start_would_go_on(
    tell: Tell, fuller: FileStore
) -> None:
    """Not what would be compiled ahead, nor made ready, nor given to Triton's cache."""
    said = tell("rm", "--all")
    assert said.code == 2
    for text in ("profile vllm 1: 2 parts", "profile train 2: 2 parts", "2 files of compiled"):
        assert text in said.out
    assert len(files(fuller)) == 11
    said = tell("rm", "--all", "--yes")
    assert said.code == 0
    assert "9 removed, and 2 of kept binaries." in said.out
    assert files(fuller) == []
    assert "Nothing to remove" in tell("rm", "--all", "--yes").out


def test_rm_all_where_only_binaries_are_kept(tell: Tell, store: FileStore) -> None:
    put_kept(store, "ABCDEFGH")
    assert tell("rm", "--all").code == 2
    assert "1 of kept binaries" in tell("rm", "--all", "--yes").out
    assert files(store) == []


def test_rm_json_of_profiles(tell: Tell, fuller: FileStore) -> None:
    found = tell("rm", "--all", "--json", "--yes").json
    kinds = sorted(one["kind"] for one in found["records"])
    assert kinds.count("profile") == 4
    assert found["removed"] == 9
    assert files(fuller) == []


@pytest.mark.parametrize(
    ("words", "profiles", "binaries"),
    [
        (["add"], 3, 2),
        (["*"], 3, 2),
        (["--all", "--world", "nvidia*"], 3, 2),
        (["--all", "--origin", "measured"], 3, 2),
        (["--all", "--older-than", "1"], 1, 2),
    ],
)
def test_rm_of_some_records_leaves_what_is_of_all(
    tell: Tell, fuller: FileStore, words: list[str], profiles: int, binaries: int
) -> None:
    assert tell("rm", *words, "--yes").code == 0
    left = files(fuller)
    assert len([path for path in left if path.name.endswith(".profile.json")]) == profiles
    assert len([path for path in left if path.suffix == ".zip"]) == binaries


def test_rm_leaves_files_that_are_not_ours(tell: Tell, fuller: FileStore, tmp_path: Path) -> None:
    place = put_kept(fuller)
    (place / "notes.txt").write_text("theirs")
    (place / "LINKLINK.zip").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("theirs")
    tell("rm", "--all", "--yes")
    assert sorted(path.name for path in place.iterdir()) == ["LINKLINK.zip", "notes.txt"]
    assert (tmp_path / "elsewhere").exists()
