"""A thread that does pieces of work in turn."""

from __future__ import annotations

import os
import threading

import pytest

from tuneonce.system import background as module
from tuneonce.system.background import Background

# Only a test that would fail waits this long.
TOO_LONG = 30.0


def nothing(item: str, error: Exception) -> None:
    raise AssertionError(item) from error


def test_what_is_woken_has_a_turn_each() -> None:
    done: list[str] = []
    background = Background[str](done.append, name="test", on_error=nothing)
    for item in "abc":
        assert background.wake(item)
    assert background.wait_until(lambda: sorted(done) == ["a", "b", "c"], TOO_LONG)


def test_one_turn_for_several_wakes() -> None:
    done: list[str] = []
    hold, held = threading.Event(), threading.Event()

    def work(item: str) -> None:
        held.set()
        assert hold.wait(TOO_LONG)
        done.append(item)

    background = Background[str](work, name="test", on_error=nothing)
    background.wake("a")
    assert held.wait(TOO_LONG)
    for _ in range(5):
        background.wake("b")
    background.wake("gone")
    background.forget("gone")
    hold.set()
    assert background.wait_until(lambda: done[-1:] == ["b"], TOO_LONG)
    assert done == ["a", "b"]


def test_work_comes_again_when_it_says_so() -> None:
    turns: list[int] = []

    def work(item: str) -> float | None:
        turns.append(len(turns))
        return 0.0 if len(turns) < 4 else None

    background = Background[str](work, name="test", on_error=nothing)
    background.wake("a")
    assert background.wait_until(lambda: len(turns) == 4, TOO_LONG)


def test_an_error_ends_no_other_work() -> None:
    done: list[str] = []
    errors: list[tuple[str, str]] = []

    def work(item: str) -> None:
        if item == "bad":
            raise ValueError("no")
        done.append(item)

    background = Background[str](
        work, name="test", on_error=lambda item, error: errors.append((item, str(error)))
    )
    background.wake("bad")
    background.wake("good")
    assert background.wait_until(lambda: done == ["good"] and len(errors) == 1, TOO_LONG)
    assert errors == [("bad", "no")]


def test_a_thread_without_work_ends_and_another_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 0.0)
    threads: list[threading.Thread] = []
    background = Background[str](
        lambda item: threads.append(threading.current_thread()), name="test", on_error=nothing
    )
    for number in (1, 2):
        background.wake("a")
        assert background.wait_until(lambda number=number: len(threads) == number, TOO_LONG)
        threads[-1].join(TOO_LONG)
        assert not threads[-1].is_alive()
    assert threads[0] is not threads[1]


def test_where_there_can_be_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    background = Background[str](lambda item: None, name="test", on_error=nothing)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not background.wake("a")
    assert background.wake("a")


def test_a_child_has_a_thread_of_its_own() -> None:
    done: list[str] = []
    background = Background[str](done.append, name="test", on_error=nothing)
    background.wake("a")
    assert background.wait_until(lambda: done == ["a"], TOO_LONG)
    child = os.fork()
    if child == 0:
        background.wake("b")
        os._exit(0 if background.wait_until(lambda: done == ["a", "b"], TOO_LONG) else 1)
    assert os.waitpid(child, 0)[1] == 0
