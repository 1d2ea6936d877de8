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


def turns_of(
    wanted: dict[str, int], *, rank: dict[str, float], while_at: dict[int, str]
) -> list[tuple[str, bool]]:
    """Turns and whether they were pressed, of items that come again so often after they were woken
    together; `while_at`: what is woken during which turn."""
    done: list[tuple[str, bool]] = []
    left, began = dict(wanted), threading.Event()

    def work(item: str) -> float | None:
        if item == "gate":
            assert began.wait(TOO_LONG)
            return None
        done.append((item, background.is_pressed))
        if len(done) in while_at:
            background.wake(while_at[len(done)])
        if background.is_pressed:
            return 0.0
        left[item] = left.get(item, 0) - 1
        return 0.0 if left[item] > 0 else None

    background = Background[str](work, name="test", on_error=nothing, rank=rank.__getitem__)
    for item in ("gate", *wanted):
        background.wake(item)
    began.set()
    assert background.wait_until(lambda: all(n <= 0 for n in left.values()), TOO_LONG)
    return done


def test_what_takes_long_is_done_by_rank_after_all_that_was_woken() -> None:
    done = turns_of({"a": 2, "b": 2, "c": 1}, rank={"a": 1.0, "b": 3.0, "c": 2.0}, while_at={})
    assert [item for item, pressed in done if not pressed] == ["b", "b", "c", "a", "a"]
    assert done[:3] == [("a", True), ("b", True), ("c", True)]


def test_what_is_woken_goes_before_what_comes_again_but_not_for_ever() -> None:
    at = dict.fromkeys(range(1, 500), "woken")
    done = turns_of({"long": 3, "woken": 1}, rank={"long": 2.0, "woken": 1.0}, while_at=at)
    turns = [item for item, _ in done]
    assert turns.count("long") >= 3
    between = turns[turns.index("long") + 1 :]
    assert 0 < between.index("long") <= module._MOST_BEFORE + 2


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
