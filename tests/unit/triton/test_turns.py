"""Turns: work that can wait is done while nobody tunes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tuneonce.triton import turns
from tuneonce.triton.turns import Turns

# Only a test that would fail waits this long.
TOO_LONG = 30.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_S", TOO_LONG)


def piece(some: Turns, begun: threading.Event, end: threading.Event, log: list[str]) -> None:
    with some.piece():
        log.append("piece begins")
        begun.set()
        assert end.wait(TOO_LONG)
        log.append("piece ends")


def test_a_piece_waits_for_a_tuning_until_that_waits_itself() -> None:
    some, log = Turns(), list[str]()
    begun, end = threading.Event(), threading.Event()
    end.set()
    with ThreadPoolExecutor(1) as threads, some.tuning():
        working = threads.submit(piece, some, begun, end, log)
        log.append("tunes")
        assert not begun.is_set()
        with some.away():
            working.result(TOO_LONG)
        log.append("tunes again")
    assert log == ["tunes", "piece begins", "piece ends", "tunes again"]


def test_who_tunes_lets_a_piece_end() -> None:
    some, log = Turns(), list[str]()
    begun, end = threading.Event(), threading.Event()

    def tune() -> None:
        asked.set()
        with some.tuning():
            log.append("tunes")

    asked = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        working = threads.submit(piece, some, begun, end, log)
        assert begun.wait(TOO_LONG)
        tuning = threads.submit(tune)
        assert asked.wait(TOO_LONG)
        end.set()
        working.result(TOO_LONG)
        tuning.result(TOO_LONG)
    assert log == ["piece begins", "piece ends", "tunes"]


def test_a_piece_that_hangs_hangs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_S", 0.01)
    some = Turns()
    begun, end = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(piece, some, begun, end, [])
        assert begun.wait(TOO_LONG)
        with some.tuning():
            assert not end.is_set()
        end.set()
        working.result(TOO_LONG)


def test_two_tunings_side_by_side() -> None:
    some, log = Turns(), list[str]()
    both = threading.Barrier(2, timeout=TOO_LONG)

    def tune() -> None:
        with some.tuning():
            both.wait()
            log.append("tunes")

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(tune), threads.submit(tune)]:
            done.result(TOO_LONG)
    assert log == ["tunes", "tunes"]
