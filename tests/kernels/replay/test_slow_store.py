"""A store that does not answer while a program gets ready: the program goes on, nothing is lost."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import torch

from tests.kernels.replay.replay_kernels import N, plain, tune, x
from tests.kernels.replay.replay_lab import Program, Start
from tuneonce.model.profiles import Profile
from tuneonce.replay import process
from tuneonce.replay.beside import Beside
from tuneonce.store.memory import MemoryStore
from tuneonce.system.patience import Patience

# Only a test that would fail waits so long.
TOO_LONG = 60.0
SOON = 0.05


class Hanging(MemoryStore):
    """Does not answer a call whose operation and name `hangs` says, until it `answers`."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.hangs: Callable[[str, str], bool] = lambda operation, name: False
        self.asked_by: set[int] = set()

    def _wait(self, operation: str, name: str) -> None:
        if self.hangs(operation, name) and not self.answers.is_set():
            self.asked_by.add(threading.get_ident())
            assert self.answers.wait(TOO_LONG)

    def get(self, name: str) -> bytes | None:
        self._wait("get", name)
        return super().get(name)

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._wait("put", name)
        super().put(name, data, durable=durable)


@pytest.fixture
def store() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.answers.set()


@pytest.fixture
def program(store: Hanging) -> Program:
    """One that has been started once: three variants, two keys."""
    made = Program(store)
    with made.start() as start:
        plain[(1,)](x(), 5, 2)
        plain[(2,)](x(torch.float16), 16, 3, num_warps=2)
        tune()
        tune(N // 2)
        start.ready()
    return made


def profile_of(program: Program) -> Profile:
    found = program.profile()
    assert found is not None
    return found


def rounds_of(start: Start) -> Callable[[], Any]:
    """Waits for the next call that makes something ready; returns what it came to."""
    warmer, done, came = start.replay._warmer, threading.Semaphore(0), list[Any]()
    own = warmer.warm

    def warm(*args: Any, **kwargs: Any) -> Any:
        came.append(own(*args, **kwargs))
        done.release()
        return came[-1]

    warmer.warm = warm  # type: ignore[method-assign]

    def wait() -> Any:
        assert done.acquire(timeout=TOO_LONG)
        return came[-1]

    return wait


def test_a_profile_that_is_late_is_made_ready_beside_the_first_requests(
    program: Program, store: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "Beside", functools.partial(Beside, quiet_s=0.0))
    store.hangs = lambda operation, name: operation == "get" and name.startswith("profiles/")
    with program.start(background=True) as start:
        start.replay.await_ready()
        plain[(1,)](x(), 5, 2)
        patience, wait = Patience(SOON), rounds_of(start)
        assert start.replay.warm(patience).left_out == {"not_read": 1}
        wait()
        start.replay.serve(patience)
        assert patience.left == 0
        store.answers.set()
        warmed = wait()
        # What is not launched yet is left to its launch: the program runs.
        assert (warmed.variants, warmed.known, warmed.verdicts) == (1, 1, 2)
        assert warmed.left_out == {"may_change": 1}
        with start.nothing_compiled_or_loaded():
            plain[(2,)](x(torch.float16), 16, 3, num_warps=2)
    assert threading.get_ident() not in store.asked_by


def test_nothing_is_made_ready_later_where_that_is_taken_for_a_fault(
    program: Program, store: Hanging
) -> None:
    store.hangs = lambda operation, name: operation == "get" and name.startswith("profiles/")
    with program.start(background=True) as start:
        start.replay.await_ready()
        plain[(1,)](x(), 5, 2)
        start.replay.warm(Patience(SOON))
        before = start.replay._beside
        start.replay.serve(Patience(SOON), watched=True)
        assert start.replay._beside is before
        assert before._ended.is_set()
        store.answers.set()


def test_variants_do_not_wait_for_verdicts(program: Program, store: Hanging) -> None:
    read = []

    def hangs(operation: str, name: str) -> bool:
        if is_verdict := operation == "get" and name.endswith(".verdict.json"):
            read.append(name)
        return is_verdict

    store.hangs = hangs
    with program.start(background=True) as start:
        warmed = start.replay.warm(Patience(SOON))
        assert (warmed.variants, warmed.verdicts, warmed.left_out) == (3, 0, {})
        store.answers.set()
        start.replay._warmer._reads.finish(TOO_LONG)
        assert start.replay._warmer._resolver.prefetched == 2
        read.clear()
        tune()
        tune(N // 2)
        assert [one["outcome"] for one in start.of("resolve")] == ["hit", "hit"]
        assert read == []
    assert threading.get_ident() not in store.asked_by


def test_what_is_not_written_in_time_is_written_later(program: Program, store: Hanging) -> None:
    store.hangs = lambda operation, name: operation == "put"
    with program.start(background=True) as start:
        plain[(3,)](x(), 7, 5)
        patience = Patience(SOON)
        start.replay.serve(patience)
        assert patience.left == 0
        assert [one.complete for one in profile_of(program).starts] == [True]
        store.answers.set()
        recorder = start.replay._recorder
        assert recorder is not None
        assert recorder._thread is not None
        recorder._thread.join(TOO_LONG)
        assert [one.complete for one in profile_of(program).starts] == [True, True]
        assert [one.variant.get("const.[2]") for one in profile_of(program).variants].count(5) == 1
    assert threading.get_ident() not in store.asked_by


def test_a_part_that_is_being_written_as_serving_begins_is_written_once_more(
    program: Program, store: Hanging
) -> None:
    """Else that the start got so far would not be known."""
    written = threading.Event()

    def hangs(operation: str, name: str) -> bool:
        if operation == "put":
            written.set()
        return operation == "put"

    store.hangs = hangs
    with program.start(background=True) as start:
        plain[(3,)](x(), 7, 5)
        assert written.wait(TOO_LONG)
        start.replay.serve(Patience(SOON))
        store.answers.set()
        recorder = start.replay._recorder
        assert recorder is not None
        assert recorder._thread is not None
        recorder._thread.join(TOO_LONG)
        assert [one.complete for one in profile_of(program).starts] == [True, True]
