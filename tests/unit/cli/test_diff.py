"""`tuneonce diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import H100, make_key, put_damaged, put_verdict
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.125,), 128: (0.1,)}


@pytest.fixture
def a(tmp_path: Path) -> str:
    store = FileStore(tmp_path / "a")
    for number in range(3):
        put_verdict(store, make_key("add", tuning={"n": number}), TIMES)
    put_verdict(store, make_key("add", product=H100, tuning={"n": 1}), TIMES, winner=64)
    return str(tmp_path / "a")


@pytest.fixture
def b(tmp_path: Path) -> str:
    store = FileStore(tmp_path / "b")
    put_verdict(store, make_key("add", tuning={"n": 0}), TIMES)
    put_verdict(store, make_key("add", tuning={"n": 1}), {64: (0.1,), 128: ()})
    put_verdict(store, make_key("add", tuning={"n": 2}), {64: (0.1,), 128: (0.11,)})
    put_verdict(store, make_key("mul"), TIMES)
    return str(tmp_path / "b")


def test_two_stores(tell: Tell, a: str, b: str) -> None:
    said = tell("diff", a, b)
    assert (said.code, said.err) == (1, "")
    assert [" ".join(line.split()) for line in said.out.splitlines()] == [
        "kernels:add",
        "NVIDIA H200 · cuda:90 · triton-3.6.0",
        "key size winner of A winner of B A loses B loses",
        "n=1 16–63 programs BLOCK=128 num_warps=4 BLOCK=64 num_warps=4 25.0% failed",
        "n=2 16–63 programs BLOCK=128 num_warps=4 BLOCK=64 num_warps=4 25.0% 10.0%",
        "",
        f"A: {a}",
        f"B: {b}",
        "3 keys in both, 2 with different winners; 1 only in A, 1 only in B",
        "By the winners of B, A would lose 25.0% in the median and 25.0% at worst",
        "By the winners of A, B would lose 10.0% in the median and 10.0% at worst; 1 not measured",
    ]


def test_equal_stores(tell: Tell, a: str) -> None:
    said = tell("diff", a, a)
    assert said.code == 0
    assert "4 keys in both, 0 with different winners; 0 only in A, 0 only in B" in said.out
    assert "would lose" not in said.out


def test_one_store_against_an_empty_one(tell: Tell, a: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = tell("diff", a, str(tmp_path / "empty"))
    assert (said.code, "0 keys in both" in said.out, "4 only in A" in said.out) == (1, True, True)


def test_two_worlds(tell: Tell, a: str, b: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tell("diff", a, "--world", "*H100", "--world", "*H200")
    assert said.code == 1
    assert f"A: {a}, NVIDIA H100 · cuda:90 · triton-3.6.0" in said.out
    assert f"B: {a}, NVIDIA H200 · cuda:90 · triton-3.6.0" in said.out
    assert "1 key in both, 1 with different winners; 0 only in A, 2 only in B" in said.out
    assert "By the winners of A, B would lose 25.0% in the median and 25.0% at worst" in said.out
    assert "By the winners of B, A would lose -20.0% in the median" in said.out
    # The store of this environment, where none is named.
    monkeypatch.setenv("TUNEONCE_STORE", a)
    assert tell("diff", "--world", "*H100", "--world", "*H200").out == said.out
    said = tell("diff", a, b, "--world", "*H100", "--world", "*H200")
    assert "1 key in both, 0 with different winners" in said.out
    # One for both sides.
    assert "only in A, 1 only in B" in tell("diff", a, b, "--world", "*H200").out


def test_the_document_has_all_of_it(tell: Tell, a: str, b: str) -> None:
    said = tell("diff", a, b, "--kernel", "add", "--json")
    document = said.json
    assert (said.code, document["schema"]) == (1, "tuneonce.diff/1")
    assert (document["left"], document["right"], document["worlds"]) == (a, b, None)
    assert (document["same"], document["only_left"], document["only_right"]) == (1, 1, 0)
    failed, measured = document["different"]
    assert failed["key"] == {"n": "1"}
    assert failed["right"] == {
        "world": "NVIDIA H200 · cuda:90 · triton-3.6.0",
        "winner": "BLOCK=64 num_warps=4",
        "winner_ms": 0.1,
        "others_ms": None,
        "loss": None,
        "failed": "did not run",
    }
    assert measured["left"]["loss"] == pytest.approx(0.25)
    assert document["right_loses"] == {
        "known": 1,
        "not_measured": 1,
        "median": pytest.approx(0.1),
        "worst": pytest.approx(0.1),
    }


def test_nothing_was_measured(tell: Tell, tmp_path: Path) -> None:
    for name, times in (("a", {64: (0.1,), 128: ()}), ("b", {64: (), 128: (0.1,)})):
        put_verdict(FileStore(tmp_path / name), make_key("add"), times)
    said = tell("diff", str(tmp_path / "a"), str(tmp_path / "b"))
    assert "What A would lose by the winners of B was not measured." in said.out


def test_what_cannot_be_read_is_a_problem(tell: Tell, a: str, tmp_path: Path) -> None:
    put_damaged(FileStore(tmp_path / "bad"), tmp_path / "bad")
    said = tell("diff", str(tmp_path / "bad"), str(tmp_path / "bad"))
    assert said.code == 0
    assert said.out.count("problem: v1/bad") == 8
    assert "1 key in both" in said.out


def test_what_cannot_be_told_is_2_and_no_difference(tell: Tell, a: str, tmp_path: Path) -> None:
    h100, h200 = ("--world", "*H100"), ("--world", "*H200")
    for words, what in (
        ((), "name two stores, or two worlds"),
        ((a,), "name two stores, or two worlds"),
        ((a, *h100), "name two stores, or two worlds"),
        ((a, a, *h100, *h200, *h100), "twice at most"),
        ((a, "", *h100), "empty"),
        ((a, "memory:"), "memory:"),
        ((a, "redis://host"), "redis:"),
        ((a, str(tmp_path / "none")), "there is no store"),
        ((a, *h100, "--world", "H20"), "--world H20 is none of"),
        ((a, a, "--kernel", "ad"), "did you mean add"),
    ):
        said = tell("diff", *words)
        assert (said.code, said.out) == (2, ""), words
        assert what in said.err
        assert len(said.err.splitlines()) == 1
