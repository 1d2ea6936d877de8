"""`tuneonce merge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import NOON, make_key, put_damaged, put_verdict, put_wanted
from tests.fakes import files_below
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import AsNobody, Tell

TIMES, OTHERS = {64: (0.2,), 128: (0.1,)}, {64: (0.1,), 128: (0.2,)}


@pytest.fixture
def a(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "a")
    put_verdict(store, make_key("add"), TIMES)
    put_verdict(store, make_key("mul"), TIMES)
    put_wanted(store, make_key("add"), 64)
    return store


@pytest.fixture
def b(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "b")
    put_verdict(store, make_key("add"), OTHERS, at=NOON + 1)
    return store


@pytest.mark.usefixtures("a", "b")
def test_stores_are_merged_and_conflicts_are_shown(tell: Tell, tmp_path: Path) -> None:
    places = [str(tmp_path / "a"), f"file://{tmp_path}/b?readonly=1"]
    before = files_below(tmp_path)
    said = tell("merge", *places, "--into", str(tmp_path / "c"))
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "kernels:add n=64 x=bf16, 16–63 programs, NVIDIA H200 · cuda:90 · triton-3.6.0: "
        f"BLOCK=64 num_warps=4 (0.1 ms) of {tmp_path}/b stays, over "
        f"BLOCK=128 num_warps=4 (0.1 ms) of {tmp_path}/a: it is newer",
        "1 key had several verdicts, of which the best stays; 1 with different winners",
        f"merge of {tmp_path}/a, {tmp_path}/b into {tmp_path}/c: "
        "2 records new there, 0 there already",
    ]
    merged = files_below(tmp_path / "c")
    assert len(merged) == 2
    assert {**files_below(tmp_path), **before} == files_below(
        tmp_path
    )  # the sources are as they were
    # In another order, and again: the same store.
    tell("merge", *places[::-1], "--into", str(tmp_path / "d"))
    said = tell("merge", *places, "--into", str(tmp_path / "c"))
    assert "0 records new there, 1 there already, 1 of which the one there stays" in said.out
    assert files_below(tmp_path / "d") == files_below(tmp_path / "c") == merged


@pytest.mark.usefixtures("a", "b")
def test_a_dry_run_makes_nothing(tell: Tell, tmp_path: Path) -> None:
    said = tell("merge", str(tmp_path / "b"), "--into", str(tmp_path / "c"), "--dry-run")
    assert "1 record new there, 0 there already; nothing was written" in said.out
    assert not (tmp_path / "c").exists()
    before = files_below(tmp_path / "a")
    said = tell("merge", str(tmp_path / "b"), "--into", str(tmp_path / "a"), "--dry-run")
    assert "1 in the place of one that says less; nothing was written" in said.out
    assert files_below(tmp_path / "a") == before


@pytest.mark.usefixtures("a", "b")
def test_the_document_has_all_of_it(tell: Tell, tmp_path: Path) -> None:
    document = tell("merge", str(tmp_path / "b"), "--into", str(tmp_path / "a"), "--json").json
    [conflict] = document.pop("winners")
    assert document == {
        "schema": "tuneonce.merge/1",
        "stores": [f"{tmp_path}/b"],
        "into": f"{tmp_path}/a",
        "dry_run": False,
        "new": 0,
        "replaced": 1,
        "known": 0,
        "kept": 0,
        "unusable": 0,
        "unknown": 0,
        "conflicts": 1,
        "winners_differ": 1,
        "problems": [],
    }
    assert conflict["stays"] == {
        "source": f"{tmp_path}/b",
        "winner": "BLOCK=64 num_warps=4",
        "winner_ms": 0.1,
    }
    assert [one["winner"] for one in conflict["others"]] == ["BLOCK=128 num_warps=4"]
    assert conflict["because"] == "it is newer"


def test_what_is_not_whole_is_told_and_left(tell: Tell, tmp_path: Path) -> None:
    put_damaged(FileStore(tmp_path / "bad"), tmp_path / "bad")
    said = tell("merge", str(tmp_path / "bad"), "--into", str(tmp_path / "c"))
    assert said.code == 0
    assert said.out.count("problem: v1/bad") == 3
    assert "1 record new there, 0 there already, 3 not taken" in said.out
    assert len(files_below(tmp_path / "c")) == 1


@pytest.mark.usefixtures("a")
def test_what_means_nothing_is_wrong_input(tell: Tell, tmp_path: Path) -> None:
    a = str(tmp_path / "a")
    (tmp_path / "link").symlink_to(a)
    for words, what in (
        (("merge",), "STORE"),
        (("merge", a), "--into"),
        (("merge", a, "--into", ""), "empty"),
        (("merge", "", "--into", a), "empty"),
        (("merge", a, "--into", "memory:"), "memory:"),
        (("merge", "memory:", "--into", a), "memory:"),
        (("merge", a, "--into", "redis://host"), "no store is known for redis:"),
        (("merge", a, "--into", str(tmp_path / "link")), "into itself"),
    ):
        said = tell(*words)
        assert (said.code, said.out) == (2, ""), words
        assert what in said.err
        assert len(said.err.splitlines()) == 1


@pytest.mark.usefixtures("a")
def test_places_that_do_not_do_are_failures(
    tell: Tell, place: Path, as_nobody: AsNobody, tmp_path: Path
) -> None:
    said = tell("merge", str(tmp_path / "none"), "--into", str(tmp_path / "c"))
    assert (said.code, "there is no store" in said.err) == (1, True)
    said = tell("merge", str(tmp_path / "a"), "--into", f"file://{tmp_path}/c?readonly=1")
    assert (said.code, "read-only" in said.err) == (1, True)
    assert not (tmp_path / "c").exists()
    put_verdict(FileStore(place / "source"), make_key("add"), TIMES)
    target = place / "target"
    target.mkdir()
    target.chmod(0o555)
    with as_nobody():
        said = tell("merge", str(place / "source"), "--into", str(target))
    assert (said.code, "cannot be written" in said.err) == (1, True)
    assert len(said.err.splitlines()) == 1
    assert list(target.iterdir()) == []


@pytest.mark.usefixtures("a", "b")
def test_how_far_it_is_is_a_line_that_goes_away(tell: Tell, tmp_path: Path, terminal: None) -> None:
    said = tell("merge", str(tmp_path / "a"), "--into", str(tmp_path / "c"))
    assert (said.code, "2 records new there" in said.words) == (0, True)
