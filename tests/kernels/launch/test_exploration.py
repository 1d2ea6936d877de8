"""Keys whose traffic tunes them: no launch waits, each runs one candidate, the best one wins."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import json
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
from triton.runtime.autotuner import Autotuner

from tests.fakes import journals_of
from tests.kernels.equivalence_calls import accumulate
from tests.kernels.equivalence_calls import blocks as interpreted_blocks
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import STOCK_RUN, Events, Lab
from tests.kernels.launch.test_threads import together
from tuneonce.model.records import Verdict, unpack
from tuneonce.phase import Phases
from tuneonce.policies import OnMiss, Policies
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import Workers, build_workers
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch.explored_key import ExploredKey
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence
from tuneonce.triton.seams import compiled

# What explores asks no more of a version of Triton than what is marked `every_version` does.
pytestmark = pytest.mark.slow

# Only a test that would fail waits this long.
TOO_LONG = 60.0
X, OUT = torch.arange(4096.0), torch.zeros(4096)
SIZES = (32, 64, 128, 256, 512)


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


@dataclass
class Process:
    """The hook of a process that explores, and what it told."""

    hook: Hook
    events: Events
    compiled_here: list[str] = field(default_factory=list)
    """What was compiled or loaded in the thread of the test, in a launch."""

    @property
    def explorations(self) -> Any:
        return self.hook._cold_path.exploration

    @property
    def keys(self) -> list[ExploredKey]:
        return list(self.explorations._keys)

    def settle(self, holds: Callable[[], bool] = lambda: True) -> None:
        """Wait until there is nothing to do beside launches, or nothing for a while yet."""
        background = self.explorations._background

        def at_rest() -> bool:
            now = background._clock()
            return not background._woken and all(due > now for due in background._due.values())

        assert background.wait_until(lambda: at_rest() and holds(), TOO_LONG)

    def supplied(self) -> None:
        """Wait until all candidates that can be had are there."""

        def all_there() -> bool:
            return all(key.supply is not None and key.supply.empty for key in self.keys)

        self.settle(all_there)

    def told(self, what: str) -> list[dict[str, Any]]:
        return [one for one in self.events.of("explore") if one["what"] == what]


@contextlib.contextmanager
def exploring(
    store: Any, *, workers: int = 2, policies: Policies | None = None, raise_errors: bool = True
) -> Iterator[Process]:
    events: Any = Events()
    journals = journals_of(store)
    persistence = Persistence(
        Resolver(store, events, journals=journals), events, raise_errors=raise_errors
    )
    policies = policies or Policies(starting=OnMiss.EXPLORE)
    hook = Hook(
        sys.modules["triton.runtime.autotuner"],
        persistence,
        build_workers(workers, events),
        journals=journals,
        phases=Phases(),
        policies=policies,
    )
    assert Autotuner.run is STOCK_RUN
    assert hook.install()
    process = Process(hook, events)
    thread, listener = threading.current_thread(), triton.knobs.compilation.listener

    def compiled(*, src: Any, **others: Any) -> None:
        if threading.current_thread() is thread:
            process.compiled_here.append(src.name)
        listener(src=src, **others)

    triton.knobs.compilation.listener = compiled
    try:
        yield process
    finally:
        triton.knobs.compilation.listener = listener
        hook.uninstall()
        assert Autotuner.run is STOCK_RUN


def tunable(*sizes: int, **options: Any) -> Any:
    return triton.autotune(blocks(*(sizes or SIZES)), ["n"], **options)(make_copy())


def run(kernel: Any, n: int = 4096) -> Any:
    return kernel[covering(n)](X, OUT, n)


def served(process: Process, kernel: Any, most: int = 2000, n: int = 4096) -> int:
    """Launch until there is a winner; how often that was."""
    for number in range(1, most + 1):
        run(kernel, n)
        process.settle()
        if kernel.cache:
            return number
    raise AssertionError("there is no winner")


def verdicts(store: MemoryStore) -> list[Verdict]:
    names = [name for name in store.list("") if name.endswith("verdict.json")]
    return [unpack(store.get(name) or b"", Verdict) for name in names]


def oracle(gpu: SimulatedGPU, kernel: Any, n: int = 4096) -> dict[Any, float]:
    """The true times of a kernel's candidates, of those that were launched."""
    found = {}
    for one in gpu.launches:
        for config in kernel.configs:
            if one.runs(config):
                found[config] = gpu.model.ms(one)
    return found


# -- a stream of launches --------------------------------------------------------------------


@pytest.mark.every_version
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.thorough), 3])
def test_the_traffic_finds_the_best_and_no_launch_waits(seed: int) -> None:
    store = MemoryStore()
    with SimulatedGPU(do_bench=True, noise=0.03, seed=seed) as gpu, exploring(store) as process:
        kernel = tunable()
        run(kernel)
        at_first = len(process.compiled_here)
        assert at_first <= 1
        assert len(gpu.launches) == 1
        process.supplied()
        count = served(process, kernel)
        times = oracle(gpu, kernel)
        # Nothing was compiled, loaded or benchmarked in a launch: each call is one launch.
        assert len(process.compiled_here) == at_first
        assert len(gpu.launches) == count + 1
        assert len(times) == len(SIZES)
        [winner] = kernel.cache.values()
        assert times[winner] <= 1.02 * min(times.values())
        gpu.forget()
        run(kernel)
        run(kernel)
        assert [one.runs(winner) for one in gpu.launches] == [True, True]
    [verdict] = verdicts(store)
    assert (verdict.origin, verdict.work_class) == ("explored", "c03e02")
    assert {one.method for one in verdict.measurements} == {"explore"}
    assert len(verdict.measurements) == len(SIZES)
    [begun] = process.told("begin")
    [ended] = process.told("verdict")
    assert (begun["candidates"], begun["known"]) == (len(SIZES), 0)
    assert ended["launches"] >= ended["explored"] > len(SIZES)
    assert 0 < ended["excess"] < 150
    assert process.events.of("tune") == process.events.of("problem") == []

    with SimulatedGPU(do_bench=True) as gpu, exploring(store) as process:
        kernel = tunable()
        run(kernel)
        assert str(kernel.best_config) == str(winner)
        assert process.events.outcomes == ["hit"]
        assert process.keys == []


def test_a_first_launch_takes_what_is_compiled_already() -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        run(tunable(96 + 32))
        kernel = tunable(64, 128, 1024)
        # Only 128 is on the disk: the folder for compiled kernels is this test's own.
        run(kernel)
        assert kernel.best_config.kwargs["BLOCK"] in (64, 128)
        assert len(process.compiled_here) <= 2


@pytest.mark.every_version
def test_a_kernel_that_changes_its_arguments_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each launch adds once. Kernels run in Triton's interpreter, so that they do it really."""
    from tuneonce.triton.launch import exploration
    from tuneonce.triton.measure import launch_events

    class Event:
        now = 0.0

        def record(self) -> None:
            Event.now += 1.0
            self.at = Event.now

        def query(self) -> bool:
            return True

        def elapsed_time(self, other: Any) -> float:
            return float(other.at - self.at)

    class Interface:
        @staticmethod
        def Event(*, enable_timing: bool) -> Event:
            return Event()

    monkeypatch.setattr(exploration, "tells_times", lambda autotuner: True)
    monkeypatch.setattr(exploration.drivers, "current_device", lambda: 0)
    monkeypatch.setattr(launch_events.drivers, "active", lambda: None)
    monkeypatch.setattr(launch_events.drivers, "device_interface", lambda driver: Interface)
    monkeypatch.setattr(launch_events.drivers, "current_stream", lambda device: 0)
    monkeypatch.setattr(
        "tuneonce.triton.launch.hook.own_benchmark", lambda autotuner: False
    )  # which the lab's is
    lab = Lab()
    with exploring(MemoryStore()) as process:
        kernel = lab.autotune(
            lab.interpreted(accumulate), interpreted_blocks(8, 16, 32), ["n"], reset_to_zero=["out"]
        )
        used = set()
        for number in range(1, 60):
            kernel[lambda meta: (triton.cdiv(32, meta["BLOCK"]),)](lab.x, lab.out, lab.mark, 32, 0)
            used.add(str(kernel.best_config))
            assert torch.equal(lab.out, number * lab.x)
            process.settle()
    assert len(used) == 3


# -- another process goes on -----------------------------------------------------------------


def test_another_process_goes_on_where_one_has_stopped() -> None:
    store = MemoryStore()
    times = {32: 0.05, 64: 0.021, 128: 0.02, 256: 0.09, 512: 0.0201}

    def by_block(launch: Any) -> float:
        return times[launch.constants["BLOCK"]]

    with SimulatedGPU(do_bench=True, times=by_block) as gpu, exploring(store) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        while key.exploration._looking:
            run(kernel)
            process.settle()
        assert not kernel.cache
    assert verdicts(store) == []
    with SimulatedGPU(do_bench=True, times=by_block) as gpu, exploring(store) as process:
        kernel = tunable()
        run(kernel)
        assert process.events.of("resolve")[0]["reason"] == "unfinished"
        process.supplied()
        served(process, kernel)
        assert process.told("begin")[0]["known"] == len(SIZES)
        used = {one.constants["BLOCK"] for one in gpu.launches}
    assert not used & {32, 256}  # they are known to be far behind
    [verdict] = verdicts(store)
    assert {config for config, time in times.items() if time < 0.022} == used
    assert len(verdict.measurements) == len(SIZES)


# -- what must not be explored ---------------------------------------------------------------


@pytest.mark.every_version
def test_in_a_capture_the_candidate_that_serves_runs_untimed() -> None:
    with SimulatedGPU(do_bench=True) as gpu, exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        served_before, launches = key.exploration.incumbent, key.exploration.launches
        with gpu.capture() as captured:
            for _ in range(20):
                run(kernel)
        assert len(captured) == 20
        assert all(one.runs(kernel.configs[served_before]) for one in captured)
        assert key.exploration.launches == launches
        served(process, kernel)


def another_benchmark(call: Any, quantiles: Any) -> list[float]:
    return [call(), 1.0, 1.0, 1.0][1:]


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("why", ["own benchmark", "driver's", "one of several ranks"])
def test_what_is_not_explored_is_borrowed_or_else_tuned(
    why: str, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of a list could be far behind, for as long as the program serves."""
    options = {"do_bench": another_benchmark} if why == "own benchmark" else {}
    store = MemoryStore()
    with SimulatedGPU(do_bench=why != "driver's"):
        if near:
            with exploring(store, policies=Policies()):
                run(tunable(64, 128, **options), n=2048)
        if why == "one of several ranks":
            monkeypatch.setenv("WORLD_SIZE", "2")
        with exploring(store) as process:
            run(kernel := tunable(64, 128, **options))
            assert len(kernel.cache) == 1
            assert process.keys == process.events.of("explore") == []
            done = [e for e in ("tune", "borrow") if process.events.of(e)]
            assert done == ["borrow" if near else "tune"]


@pytest.mark.parametrize(
    ("why", "policies", "instead"),
    [
        ("twice the same", Policies(starting=OnMiss.EXPLORE), ["tune"]),
        ("deterministic", Policies(starting=OnMiss.EXPLORE, deterministic=True), []),
        ("policy", Policies(), ["tune"]),
    ],
)
def test_what_is_not_explored_is_as_the_policy_says(
    why: str, policies: Policies, instead: list[str]
) -> None:
    sizes = (64,) * 2 if why == "twice the same" else (64, 128)
    with SimulatedGPU(do_bench=True), exploring(MemoryStore(), policies=policies) as process:
        run(kernel := tunable(*sizes))
        assert len(kernel.cache) == 1
        assert process.keys == process.events.of("explore") == []
        assert [e for e in ("tune", "borrow") if process.events.of(e)] == instead
        assert str(kernel.best_config) in map(str, kernel.configs)


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


def test_a_launch_of_nothing_and_one_that_only_compiles_decide_nothing() -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable(64, 128)
        run(kernel)
        process.supplied()
        [key] = process.keys
        launches = key.exploration.launches
        kernel[(0,)](X, OUT, 4096)
        kernel.warmup(X, OUT, 4096, grid=covering(4096))
        assert key.exploration.launches == launches
        run(kernel)
        assert key.exploration.launches == launches + 1


def test_without_other_processes_nothing_is_compiled_and_nothing_published(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    store = MemoryStore()
    with SimulatedGPU(do_bench=True), exploring(store, workers=1) as process:
        kernel = tunable(64, 128, 256)
        run(kernel)
        process.settle(lambda: bool(kernel.cache))
        assert process.compiled_here == ["copy"]
        [ended] = process.told("verdict")
        assert ended["untried"] == 2
    assert verdicts(store) == []


# -- errors ----------------------------------------------------------------------------------


def test_a_candidate_that_does_not_fit_costs_no_launch() -> None:
    store = MemoryStore()
    with SimulatedGPU(do_bench=True) as gpu, exploring(store) as process:
        gpu.fail(lambda launch: launch.constants["BLOCK"] in (32, 256))
        kernel = tunable()
        run(kernel)  # of 32, which is the first
        process.supplied()
        count = served(process, kernel)
        assert len(gpu.launches) == count + 1  # each call has launched something
    [verdict] = verdicts(store)
    failed = [dict(one.config)["BLOCK"][1] for one in verdict.measurements if one.failed]
    assert sorted(failed) == ["256", "32"]


def test_if_no_candidate_fits_the_error_is_the_launchs() -> None:
    with SimulatedGPU(do_bench=True) as gpu, exploring(MemoryStore()) as process:
        gpu.fail(lambda launch: True)
        with pytest.raises(triton.runtime.errors.OutOfResources):
            run(tunable(64, 128))
        assert process.keys == []


def test_an_error_of_the_program_is_the_launchs_and_ends_nothing() -> None:
    class Oops(Exception):
        pass

    with SimulatedGPU(do_bench=True) as gpu, exploring(MemoryStore()) as process:
        kernel = tunable(64, 128)
        run(kernel)
        process.supplied()
        broken = [True]
        gpu.fail(lambda launch: broken[0], Oops)
        for _ in range(20):
            with pytest.raises(Oops):
                run(kernel)
        broken[0] = False
        served(process, kernel)


def test_an_error_of_ours_ends_exploring_and_no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        SimulatedGPU(do_bench=True) as gpu,
        exploring(MemoryStore(), raise_errors=False) as process,
    ):
        kernel = tunable(64, 128)
        run(kernel)
        process.supplied()
        [key] = process.keys

        def broken(size: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(key.exploration, "choose", broken)
        run(kernel)
        run(kernel)
        assert len(gpu.launches) == 3
        assert len(kernel.cache) == 1
        assert [one["what"] for one in process.events.of("problem")] == ["internal_explore"]


# -- whom else it concerns -------------------------------------------------------------------


@pytest.mark.every_version
def test_no_tensor_is_kept_alive() -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        x, out = torch.arange(4096.0), torch.zeros(4096)
        alive = [weakref.ref(x), weakref.ref(out)]
        # A grid that holds them, too, as those of most programs do.
        kernel[lambda meta, x=x: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, out, 4096)
        del x, out
        gc.collect()
        assert [ref() for ref in alive] == [None, None]
        process.supplied()
        served(process, kernel)


def test_what_the_program_puts_into_the_cache_is_obeyed() -> None:
    with SimulatedGPU(do_bench=True) as gpu, exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        kernel.cache[key.session.stock_key] = kernel.configs[3]
        gpu.forget()
        for _ in range(5):
            run(kernel)
        assert all(one.runs(kernel.configs[3]) for one in gpu.launches)


def test_a_kernel_that_is_tuned_by_something_else_now_is_another_key() -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        run(kernel)
        launches = key.exploration.launches
        kernel.keys = []
        run(kernel)
        run(kernel)
        assert key.exploration.launches == launches
        assert len(process.keys) == 2


def test_sizes_of_another_class_are_another_exploration() -> None:
    with SimulatedGPU(do_bench=True) as gpu, exploring(MemoryStore()) as process:
        kernel = triton.autotune(blocks(32, 64), [])(make_copy())
        for n in (4096, 64):
            kernel[covering(n)](X, OUT, n)
        process.supplied()  # while something arrives, a launch may find the lock taken
        for n in (4096, 64, 4000):
            kernel[covering(n)](X, OUT, n)
        assert len(gpu.launches) == 5
        classes = {key.session.question.work_class for key in process.keys}
        assert classes == {"c03e02", "c00e05"}
        assert sorted(key.exploration.launches for key in process.keys) == [1, 2]


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


def test_a_forked_child_begins_anew() -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable(64, 128)
        run(kernel)
        process.supplied()
        with process.explorations._lock:
            child = os.fork()
            if child == 0:
                [classes] = kernel._tuneonce_state.classes.values()
                began = not process.keys and not classes.exploring
                run(kernel)
                os._exit(0 if began and len(process.keys) == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_first_launches_are_named_until_they_are_over() -> None:
    """One that ends the process is known to the next start, as in a tuning."""
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        [key] = process.keys
        assert key.session.journal is not None
        assert list(key._named) == [0]
        process.supplied()
        named = set()
        while len(key.exploration.rank()) < len(SIZES):
            run(kernel)
            assert len(set(key._named) - {0}) <= 1
            named |= set(key._named)
            process.settle()
        assert named | {0} == set(range(len(SIZES)))
        assert not key._named


def test_a_turn_that_comes_late_leaves_the_next_first_launch_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        monkeypatch.setattr(process.explorations._background, "wake", lambda key: True)
        while len(key._named) < 2 or key.exploration.has_run(list(key._named)[-1]):
            run(kernel)
        latest = list(key._named)[-1]
        process.explorations._turn(key)
        assert list(key._named) == [latest]
        head = json.loads(os.pread(key.session.journal._file.fileno(), 4096, 0))
        assert head["launching"] == key.session.question.digests[latest]


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
