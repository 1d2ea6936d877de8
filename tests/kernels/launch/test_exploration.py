"""Keys whose traffic tunes them: no launch waits, each runs one candidate, the best one wins."""

from __future__ import annotations

import contextlib
import gc
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
from tuneonce.model.records import Verdict, unpack
from tuneonce.phase import Phases
from tuneonce.policies import OnMiss, Policies
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch.explored_key import ExploredKey
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

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
