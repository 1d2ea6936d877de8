"""The thread beside launches that explore: what it does, and that nobody waits for it."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")

from tests.kernels.launch.test_exploration import (
    SIZES,
    TOO_LONG,
    exploring,
    run,
    served,
    tunable,
    verdicts,
)
from tests.kernels.launch.test_threads import together
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import Workers
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch.explored_key import ExploredKey
from tuneonce.triton.seams import compiled

# What explores asks no more of a version of Triton than what is marked `every_version` does.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


@pytest.mark.every_version
def test_code_is_generated_and_loaded_a_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that launches get the interpreter; the first launch of a key does what it must at once."""
    seen: set[tuple[bool, bool]] = set()
    thread = threading.current_thread()

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **kwargs: Any) -> Any:
            seen.add((threading.current_thread() is thread, sys.getprofile() is not None))
            return call(*args, **kwargs)

        return noting

    monkeypatch.setattr(Workers, "shipment", noted(Workers.shipment))
    monkeypatch.setattr(compiled, "load", noted(compiled.load))
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        run(tunable())
        process.supplied()
    assert seen == {(False, True)}


def test_threads_that_launch_one_key_do_not_wait_for_each_other() -> None:
    store = MemoryStore()
    with SimulatedGPU(do_bench=True) as gpu, exploring(store) as process:
        kernel = tunable()
        together(4, lambda number: [run(kernel) for _ in range(5)])
        assert len(process.keys) == 1
        process.supplied()
        lock = process.explorations._lock
        with lock:  # as if another thread were in there
            run(kernel)
        together(4, lambda number: [run(kernel) for _ in range(50)])
        assert len(gpu.launches) == 4 * 5 + 1 + 4 * 50
        served(process, kernel)
    assert len(verdicts(store)) == 1


def test_launches_wake_the_thread_once_until_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come to it after hundreds of launches, where these keep the interpreter."""
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        woken: list[ExploredKey] = []
        monkeypatch.setattr(key.exploration, "decide", lambda: None)
        monkeypatch.setattr(
            process.explorations._background, "wake", lambda key: woken.append(key) or True
        )
        for turn in range(1, 4):
            key.exploration.due = False
            for _ in range(100):
                run(kernel)
                key.exploration.due = True  # there is always more
            assert woken == [key] * turn
            process.explorations._turn(key)


def test_a_turn_that_is_over_at_once_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        woken = 0

        def wake(key: ExploredKey) -> bool:
            nonlocal woken
            woken += 1
            key.is_awake = False  # as its turn begins
            return True

        monkeypatch.setattr(process.explorations._background, "wake", wake)
        for _ in range(5):
            key.exploration.due = True
            run(kernel)
        assert woken == 5


@pytest.mark.parametrize("at_first", [True, False])
def test_where_no_thread_can_be_started_the_candidate_that_serves_is_the_winner(
    at_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its launches would else go on being timed, for nobody."""
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        if not at_first:
            run(kernel)
            process.supplied()
            [key] = process.keys
            key.exploration.due = True
        monkeypatch.setattr(process.explorations._background, "wake", lambda key: False)
        run(kernel)
        assert list(kernel.cache.values()) == [kernel.configs[0]]
        run(kernel)
        assert kernel._tuneonce_state.shapes
        assert [one["what"] for one in process.events.of("problem")] == ["internal_explore"]
        assert process.told("verdict") == []


def test_what_launches_change_is_not_read_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written down is made of what every launch changes."""
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        summaries, alone = key.exploration.summaries, []

        def read() -> Any:
            alone.append(process.explorations._lock.locked())
            return summaries()

        monkeypatch.setattr(key.exploration, "summaries", read)
        served(process, kernel)
        assert alone
        assert all(alone)


def test_the_thread_does_not_wait_for_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have it before it has the interpreter, and launches would not explore meanwhile."""

    class Lock:
        def __init__(self) -> None:
            self.lock, self.waited = threading.Lock(), 0
            self.release, self.locked = self.lock.release, self.lock.locked

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            self.waited += blocking and timeout < 0
            return self.lock.acquire(blocking, timeout)

        def __enter__(self) -> None:
            self.acquire()

        def __exit__(self, *raised: object) -> None:
            self.release()

    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        lock = process.explorations._lock = Lock()
        kernel = tunable()
        run(kernel)
        process.supplied()
        served(process, kernel)
        assert not lock.waited


def test_a_program_that_ends_in_the_middle_of_a_launch_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a signal handler."""
    monkeypatch.setattr("tuneonce.triton.launch.exploration._PATIENCE_S", 0.0)
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        run(tunable())
        process.supplied()
        with process.explorations._lock:
            process.explorations.close()
        assert process.keys == []


def test_where_others_wait_a_turn_does_what_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        background = process.explorations._background
        monkeypatch.setattr(background, "wake", lambda key: True)
        run(tunable())
        [key] = process.keys
        background.is_pressed = True
        assert process.explorations._turn(key) == 0.0
        assert key.exploration.pending == set(range(1, len(SIZES)))
        background.is_pressed = False
        while key.exploration.pending:
            process.explorations._turn(key)
            concurrent.futures.wait(key.supply._running, TOO_LONG, "FIRST_COMPLETED")
