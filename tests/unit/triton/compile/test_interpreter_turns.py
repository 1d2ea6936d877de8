"""Turns: work that can wait is done while no key is tuned."""

from __future__ import annotations

import contextlib
import gc
import linecache
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tuneonce.triton.compile import interpreter_turns
from tuneonce.triton.compile.interpreter_turns import InterpreterTurns

# Only a test that would fail waits this long.
TOO_LONG = 30.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter_turns, "_PATIENCE_S", TOO_LONG)


def piece(
    some: InterpreterTurns, begun: threading.Event, end: threading.Event, log: list[str]
) -> None:
    with some.piece():
        log.append("piece begins")
        begun.set()
        assert end.wait(TOO_LONG)
        log.append("piece ends")


def test_a_piece_waits_for_a_tuning_until_that_waits_itself() -> None:
    some, log = InterpreterTurns(), list[str]()
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
    some, log = InterpreterTurns(), list[str]()
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
    monkeypatch.setattr(interpreter_turns, "_PATIENCE_S", 0.01)
    some = InterpreterTurns()
    begun, end = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(piece, some, begun, end, [])
        assert begun.wait(TOO_LONG)
        with some.tuning():
            assert not end.is_set()
        end.set()
        working.result(TOO_LONG)


def test_two_tunings_side_by_side() -> None:
    some, log = InterpreterTurns(), list[str]()
    both = threading.Barrier(2, timeout=TOO_LONG)

    def tune() -> None:
        with some.tuning():
            both.wait()
            log.append("tunes")

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(tune), threads.submit(tune)]:
            done.result(TOO_LONG)
    assert log == ["tunes", "tunes"]


def line_of(frame: Any) -> str:
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno)


def interrupted(some: InterpreterTurns, place: int) -> bool:
    """Tune, wait, and do a piece, with Ctrl-C at the line of that number. False: there is none."""
    passed, last = 0, dict[int, int]()

    def trace(frame: Any, what: str, argument: Any) -> Any:
        nonlocal passed
        if frame.f_code.co_filename == interpreter_turns.__file__:
            # A `with` comes back to its line at its end. Python looks for signals after calls and
            # at jumps, not there: no lock stays locked.
            if frame.f_lineno < last.get(id(frame), 0) and "with " in line_of(frame):
                return trace
            last[id(frame)] = frame.f_lineno
            passed += 1
            if passed == place + 1:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with some.tuning():
            with some.away():
                pass
            with some.tuning():
                pass
        with some.piece():
            pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("collector", [True, False])
def test_ctrl_c_leaves_nothing_behind_wherever_it_strikes(collector: bool) -> None:
    some, place = InterpreterTurns(), 0
    if not collector:
        gc.disable()
    try:
        while interrupted(some, place):
            assert not some._tunings, place
            assert not some._pieces, place
            place += 1
    finally:
        gc.enable()
    assert place > 30
    with ThreadPoolExecutor(1) as threads, some.tuning(), some.away():
        end = threading.Event()
        end.set()
        threads.submit(piece, some, threading.Event(), end, []).result(TOO_LONG)


@pytest.mark.parametrize("waiting", ["tuning", "away", "piece"])
def test_ctrl_c_in_a_wait(waiting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    some = InterpreterTurns()

    def interrupt(self: Any, predicate: Any, timeout: Any = None) -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        if waiting == "away":
            with some.tuning(), some.away():
                monkeypatch.setattr(threading.Condition, "wait_for", interrupt)
        else:
            monkeypatch.setattr(threading.Condition, "wait_for", interrupt)
            with some.tuning() if waiting == "tuning" else some.piece():
                pass
    assert not some._tunings
    assert not some._pieces
