"""Making ready beside a program that says nothing: when it begins, and what ends it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tuneonce.replay import beside as module
from tuneonce.replay.beside import Beside

SOON_S = 20.0


class Clock:
    """The clock of the module, which stands until it is moved; `waits` are what was waited for."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        patch.setattr(module.time, "monotonic", lambda: self.now)


class Ended(threading.Event):
    """In the place of the event of the end: waiting for it moves the clock instead."""

    def __init__(self, clock: Clock, meanwhile: Callable[[int], Any]) -> None:
        super().__init__()
        self.clock, self.meanwhile = clock, meanwhile

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.clock.waits.append(timeout)
        self.meanwhile(len(self.clock.waits))
        self.clock.now += timeout
        return self.is_set()


class Lab:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.clock = Clock(patch)
        self.warmed: list[float] = []
        self.again = threading.Semaphore(0)
        self.meanwhile: Callable[[int], Any] = lambda count: None
        self.one = Beside(self.warm, quiet_s=1.0)
        self.one._ended = Ended(self.clock, lambda count: self.meanwhile(count))

    def warm(self) -> None:
        self.warmed.append(self.clock.now)
        self.again.release()

    def await_one(self) -> None:
        assert self.again.acquire(timeout=SOON_S)


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "tuneonce-beside"]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(monkeypatch)
    yield made
    made.one.end()
    for thread in threads():
        thread.join(SOON_S)
    assert threads() == []


def test_nothing_begins_before_something_is_met(lab: Lab) -> None:
    assert threads() == []
    lab.one.stir()
    lab.await_one()
    assert lab.clock.waits == [1.0]
    assert lab.warmed == [1.0]


def test_it_begins_when_nothing_new_was_met_for_a_while(lab: Lab) -> None:
    def goes_on(count: int) -> None:
        if count <= 3:
            lab.clock.now += 1.0  # as the wait ends
            lab.one.stir()
            lab.clock.now -= 1.0

    lab.meanwhile = goes_on
    lab.one.stir()
    lab.await_one()
    assert lab.clock.waits == [1.0] * 4
    assert lab.warmed == [4.0]


def test_what_is_met_later_is_looked_at_again_by_the_same_thread(lab: Lab) -> None:
    lab.one.stir()
    lab.await_one()
    (thread,) = threads()
    lab.one.stir()
    lab.await_one()
    assert threads() == [thread]
    assert len(lab.warmed) == 2


def test_it_looks_a_bounded_number_of_times(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROUNDS", 2)
    for _ in range(2):
        lab.one.stir()
        lab.await_one()
    for thread in threads():
        thread.join(SOON_S)
    assert threads() == []
    lab.one.stir()
    assert threads() == []


def test_a_program_that_says_that_it_is_ready_ends_it(lab: Lab) -> None:
    lab.meanwhile = lambda count: lab.one.end()
    lab.one.stir()
    for thread in threads():
        thread.join(SOON_S)
    assert threads() == []
    lab.one.stir()
    assert (threads(), lab.warmed) == ([], [])


def test_it_may_be_ended_before_it_begins(lab: Lab) -> None:
    lab.one.end()
    lab.one.stir()
    assert (threads(), lab.warmed) == ([], [])


def test_without_threads_it_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        lab.one.stir()
    lab.one.stir()
    assert (threads(), lab.warmed) == ([], [])


def test_under_greenlets_nothing_begins(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "patched_by", lambda: "gevent")
    lab.one.stir()
    assert (threads(), lab.warmed) == ([], [])


def test_a_forked_child_begins_for_itself(lab: Lab) -> None:
    lab.one.stir()
    lab.await_one()
    pid = os.fork()
    if pid == 0:
        try:
            assert threads() == []
            lab.one._ended = Ended(lab.clock, lambda count: None)
            lab.one.stir()
            lab.await_one()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
