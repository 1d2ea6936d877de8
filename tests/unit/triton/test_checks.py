"""Which kernels are compared, by which candidate, and what becomes of those that cannot be."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tuneonce.triton.checks import Check, Checks
from tuneonce.triton.pack import Packing, State
from tuneonce.triton.turns import Turns

# Only a test that would fail waits this long.
TOO_LONG = 30.0


class Fronts:
    """Generates a candidate's name, unless it is bad, and waits at those that are held."""

    def __init__(self) -> None:
        self.held: dict[str, threading.Event] = {}
        self.begun = queue.Queue[str]()

    def text(self, src: Any, *_: Any) -> str:
        self.begun.put(src.name)
        if (event := self.held.get(src.name)) is not None:
            event.wait(TOO_LONG)
        if src.name.startswith("bad"):
            raise ValueError(src.name)
        return str(src.name)


class Pool:
    """A helper that is asked and says nothing by itself."""

    def __init__(self) -> None:
        self.gone = False
        self.asked = queue.Queue[tuple[str, Callable[[bool], None]]]()
        self.denied = queue.Queue[str]()

    def check(self, job: dict[str, Any], on_alike: Callable[[bool], None]) -> bool:
        if self.gone:
            self.asked.put(("gone", on_alike))
            return False
        self.asked.put((job["module"], on_alike))
        return True

    def deny(self, kernel: str) -> None:
        self.denied.put(kernel)

    def next(self) -> tuple[str, Callable[[bool], None]]:
        return self.asked.get(timeout=TOO_LONG)


class Bench:
    def __init__(self) -> None:
        self.fronts, self.pool, self.packing = Fronts(), Pool(), Packing(on=True)
        fronts: Any = self.fronts
        self.checks = Checks(fronts, self.packing, Turns())

    def owe(self, kernel: str, candidate: str, *, urgent: bool = True) -> None:
        check = Check(SimpleNamespace(name=candidate), None, None, None, {"kernel": kernel})
        pool: Any = self.pool
        self.checks.owe(pool, check, urgent=urgent)

    def hold(self, candidate: str) -> threading.Event:
        """Owe one that is being generated until the event is set."""
        self.fronts.held[candidate] = event = threading.Event()
        self.owe(f"of {candidate}", candidate)
        while self.fronts.begun.get(timeout=TOO_LONG) != candidate:
            pass
        return event


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(("alike", "state"), [(True, State.THERE), (False, State.HERE)])
def test_the_helper_s_answer_is_kept(bench: Bench, alike: bool, state: State) -> None:
    assert bench.packing.ask("k") is State.TRIED
    bench.owe("k", "first")
    text, answer = bench.pool.next()
    assert text == "first"
    answer(alike)
    assert bench.packing.ask("k") is state


def test_one_candidate_is_enough(bench: Bench) -> None:
    event = bench.hold("other")
    bench.owe("k", "first")
    bench.owe("k", "second")
    event.set()
    assert bench.pool.next()[0] == "other"
    assert bench.pool.next()[0] == "first"
    bench.owe("k", "third")  # the answer is on its way
    bench.owe("last", "last")
    assert bench.pool.next()[0] == "last"


def test_who_is_waited_for_goes_first(bench: Bench) -> None:
    event = bench.hold("other")
    for kernel in ("a", "b", "c"):
        bench.owe(kernel, kernel, urgent=False)
    bench.owe("now", "now")
    bench.checks.hurry("c")
    bench.checks.hurry("unknown")
    event.set()
    assert [bench.pool.next()[0] for _ in range(5)] == ["other", "c", "now", "a", "b"]


def test_another_candidate_tells_where_one_cannot(bench: Bench) -> None:
    event = bench.hold("other")
    for candidate in ("bad", "good"):
        bench.owe("k", candidate)
    event.set()
    assert [bench.pool.next()[0] for _ in range(2)] == ["other", "good"]
    assert bench.pool.denied.empty()


def test_none_that_can_tell(bench: Bench) -> None:
    event = bench.hold("bad")
    bench.owe("of bad", "bad, too")
    event.set()
    assert bench.pool.denied.get(timeout=TOO_LONG) == "of bad"
    assert bench.packing.ask("of bad") is State.HERE


def test_without_a_helper_the_next_candidate_asks_again(bench: Bench) -> None:
    bench.pool.gone = True
    bench.owe("k", "first")
    assert bench.pool.next()[0] == "gone"
    bench.pool.gone = False
    event = bench.hold("other")  # generated after the first was given up
    bench.owe("k", "second")
    event.set()
    assert [bench.pool.next()[0] for _ in range(2)] == ["other", "second"]
    assert bench.packing.ask("k") is State.TRIED


def test_no_thread_can_be_had(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", cannot)
    bench.owe("k", "first")
    assert bench.pool.denied.get_nowait() == "k"
    assert bench.packing.ask("k") is State.HERE
    monkeypatch.undo()
    bench.owe("l", "second")
    assert bench.pool.next()[0] == "second"


def test_what_is_known_to_be_alike_does_not_come_back(bench: Bench) -> None:
    bench.packing.told("k", True)
    bench.packing.stays("k")
    assert bench.packing.ask("k") is State.THERE
    bench.packing.stays("l")
    assert bench.packing.ask("l") is State.HERE
