"""Where nothing is measured: winners that are known, or the first candidate that runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from triton.runtime.autotuner import Autotuner

from tests.fakes import FaultyStore, RememberedEvents
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import STOCK_RUN
from tests.kernels.equivalence_lab import tuneonce_on as tuning
from tuneonce.inspect.freezing import freeze
from tuneonce.model.frozen import FrozenSet
from tuneonce.phase import Phases
from tuneonce.policies import Policies
from tuneonce.resolution.deterministic import DeterministicResolver
from tuneonce.resolution.frozen import FrozenResolver
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

X, OUT = torch.arange(65536.0), torch.zeros(65536)


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


@dataclass
class Process:
    """What a deterministic process has told, and the processes that it has begun."""

    events: RememberedEvents
    workers: Any
    phases: Phases

    def outcomes(self) -> list[tuple[str, str | None]]:
        return [(e["outcome"], e["reason"]) for e in self.events.seen if e["e"] == "resolve"]

    def untuned(self) -> list[str]:
        return [event["why"] for event in self.events.seen if event["e"] == "untuned"]

    @property
    def began_nothing(self) -> bool:
        """Neither a tuning, nor compilers, nor anything in other threads."""
        measured = {event["e"] for event in self.events.seen} & {"measure", "tune", "ahead"}
        return not measured and not self.workers.works_ahead and self.workers._pool._helper is None


@contextlib.contextmanager
def deterministic(
    store: Store, frozen: FrozenSet | None = None, *, by_class: bool = True
) -> Iterator[Process]:
    """The hook of a deterministic process, as `activation.install` builds it."""
    events = RememberedEvents()
    resolver = DeterministicResolver(
        ReadOnlyStore(store), events, journals=None, frozen=frozen, by_class=by_class
    )
    persistence = Persistence(resolver, events, raise_errors=True)
    workers = build_workers(2, events)
    module = sys.modules["triton.runtime.autotuner"]
    policies = Policies(deterministic=True, work_classes=by_class)
    phases = Phases()
    hook = Hook(module, persistence, workers, policies=policies, phases=phases)
    assert hook.install()
    try:
        yield Process(events, workers, phases)
    finally:
        hook.uninstall()
        assert Autotuner.run is STOCK_RUN


def by_block(launch: Any) -> float:
    return float(launch.constants["BLOCK"])


def tunable(*sizes: int, key: tuple[str, ...] = ("n",), **options: Any) -> Any:
    # The slowest first, so that a winner is told from a default.
    return triton.autotune(blocks(*(sizes or (256, 128, 64))), [*key], **options)(make_copy())


def launch(kernel: Any, n: int = 1024) -> None:
    kernel[covering(n)](X, OUT, n)


def tuned(*ns: int, **options: Any) -> MemoryStore:
    """A store in which another process has published; its winners are the last candidates."""
    store = MemoryStore()
    with SimulatedGPU(times=by_block), tuning(store):
        kernel = tunable(**options)
        for n in ns or (1024,):
            launch(kernel, n)
    return store


def contents(store: Store) -> dict[str, bytes | None]:
    return {name: store.get(name) for name in store.list("")}


# -- which candidate -----------------------------------------------------------------------------


def test_an_empty_store_is_the_first_candidate_and_stays_empty() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block) as gpu, deterministic(store) as process:
        kernel = tunable()
        for n in (1024, 1024, 2048):
            launch(kernel, n)
        assert gpu.benchmarked == []
        assert [one.runs(kernel.configs[0]) for one in gpu.launches] == [True] * 3
        assert kernel.best_config is kernel.configs[0]
        assert list(kernel.cache.values()) == [kernel.configs[0]] * 2
        assert gpu.loaded == 1
        assert process.began_nothing
    assert process.outcomes() == [("miss", "first_candidate")] * 2
    assert process.events.problems() == []
    assert contents(store) == {}


def test_a_stored_winner_is_used_and_nothing_is_added() -> None:
    store = tuned(1024)
    before = contents(store)
    with SimulatedGPU(times=by_block) as gpu, deterministic(store) as process:
        kernel = tunable()
        launch(kernel, 1024)
        launch(kernel, 2048)
        assert gpu.benchmarked == []
        winner, first = gpu.launches
        assert winner.runs(kernel.configs[2])
        assert first.runs(kernel.configs[0])
        assert process.began_nothing
    assert process.outcomes() == [("hit", None), ("miss", "first_candidate")]
    assert contents(store) == before


def test_the_verdict_of_another_list_is_not_used() -> None:
    store = tuned(1024)
    with SimulatedGPU() as gpu, deterministic(store):
        kernel = tunable(256, 64)
        launch(kernel)
        assert gpu.launches[0].runs(kernel.configs[0])


@pytest.fixture
def of_two_sizes() -> MemoryStore:
    """A store in which 64 elements have their winner, and 65,536."""
    store = MemoryStore()
    for n, times in ((64, {256: 1.0, 64: 2.0}), (65536, {256: 2.0, 64: 1.0})):
        one = MemoryStore()
        gpu = SimulatedGPU(times=lambda launch, t=times: t[launch.constants["BLOCK"]])
        with gpu, tuning(one):
            launch(tunable(256, 64, key=()), n)
        for name, data in contents(one).items():
            assert data is not None
            store.put(name, data)
    return store


@pytest.mark.parametrize("sizes", [(64, 65536), (65536, 64)])
def test_each_size_has_its_winner_whichever_a_rank_meets_first(
    of_two_sizes: MemoryStore, sizes: tuple[int, int]
) -> None:
    store = FaultyStore(of_two_sizes)
    with SimulatedGPU() as gpu, deterministic(store) as process:
        kernel = tunable(256, 64, key=())
        launch(kernel, sizes[0])
        store.calls.clear()
        for n in (sizes[1], *sizes):
            launch(kernel, n)
        assert store.calls == []
        ran = [one.constants["BLOCK"] for one in gpu.launches]
        assert ran == [{64: 256, 65536: 64}[n] for n in (*sizes, *sizes)]
        assert list(kernel.cache.values()) == [kernel.best_config]
    assert process.outcomes() == [("hit", None)] * 2


def test_a_class_that_is_not_stored_runs_the_nearest_ones_and_is_counted(
    of_two_sizes: MemoryStore,
) -> None:
    with SimulatedGPU() as gpu, deterministic(of_two_sizes) as process:
        kernel = tunable(256, 64, key=())
        for n in (64, 20_000, 64, 20_000):
            launch(kernel, n)
        assert [one.constants["BLOCK"] for one in gpu.launches] == [256, 64] * 2
    assert process.outcomes() == [("hit", None), ("provisional", "work_class")]


@pytest.mark.parametrize("sizes", [(64, 65536), (65536, 64)])
def test_without_work_classes_the_largest_has_its_winner_run_at_all_sizes(
    of_two_sizes: MemoryStore,
    sizes: tuple[int, int],
) -> None:
    with SimulatedGPU() as gpu, deterministic(of_two_sizes, by_class=False) as process:
        kernel = tunable(256, 64, key=())
        for n in sizes:
            launch(kernel, n)
        assert [one.runs(kernel.configs[1]) for one in gpu.launches] == [True, True]
    assert process.outcomes() == [("hit", None) if sizes[0] > 64 else ("provisional", "work_class")]


def test_what_the_program_puts_into_the_cache_runs_at_all_sizes(of_two_sizes: MemoryStore) -> None:
    with SimulatedGPU() as gpu, deterministic(of_two_sizes) as process:
        kernel = tunable(256, 64, key=())
        other = triton.Config({"BLOCK": 32})
        launch(kernel, 64)
        [key] = kernel.cache
        kernel.cache[key] = other
        for n in (64, 65536):
            launch(kernel, n)
        kernel.cache.clear()
        for n in (64, 65536):
            launch(kernel, n)
        assert [one.constants["BLOCK"] for one in gpu.launches] == [256, 32, 32, 256, 64]
    assert len(process.outcomes()) == 3  # the key was cleared, so all is counted again


def test_a_winner_that_the_program_changes_in_place_is_launched_as_it_is(
    of_two_sizes: MemoryStore,
) -> None:
    with SimulatedGPU() as gpu, deterministic(of_two_sizes):
        kernel = tunable(256, 64, key=())
        for n in (64, 65536):
            launch(kernel, n)
        kernel.configs[1].kwargs["BLOCK"] = 32
        for n in (64, 65536, 65536):
            launch(kernel, n)
        assert [one.constants["BLOCK"] for one in gpu.launches] == [256, 64, 256, 32, 32]


def test_a_capture_and_a_warm_up_have_the_winner_of_their_size_whatever_was_before(
    of_two_sizes: MemoryStore,
) -> None:
    def warm_up(kernel: Any, n: int) -> None:
        kernel.run(X, OUT, n, grid=covering(n), warmup=True)

    def capture(kernel: Any, n: int) -> None:
        with gpu.capture():
            launch(kernel, n)

    for before in ((), (64,), (65536,)):
        for call in (warm_up, capture):
            with SimulatedGPU() as gpu, deterministic(of_two_sizes) as process:
                kernel = tunable(256, 64, key=())
                for n in before:
                    launch(kernel, n)
                for n in (65536, 64, 65535):
                    call(kernel, n)
                    assert kernel.best_config.kwargs["BLOCK"] == (256 if n == 64 else 64)
                for n in (64, 65536):
                    launch(kernel, n)
                    assert gpu.launches[-1].constants["BLOCK"] == (256 if n == 64 else 64)
                assert process.outcomes() == [("hit", None)] * 2
                assert process.events.problems() == []


def test_a_launch_of_nothing_or_that_only_compiles_leaves_no_other_winner(
    of_two_sizes: MemoryStore,
) -> None:
    with SimulatedGPU() as gpu, deterministic(of_two_sizes) as process:
        kernel = tunable(256, 64, key=())
        kernel.run(X, OUT, 64, grid=(1,), warmup=True)
        kernel[(0,)](X, OUT, 0)
        assert kernel.cache == {}
        launch(kernel, 65536)
        kernel[(0,)](X, OUT, 0)
        launch(kernel, 64)
        assert [one.constants["BLOCK"] for one in gpu.launches] == [64, 256]
    assert process.untuned() == ["warmup", "no_programs"]


def test_what_another_process_publishes_meanwhile_waits_for_the_next_start() -> None:
    store, published = MemoryStore(), contents(tuned(1024))
    with SimulatedGPU() as gpu, deterministic(store):
        kernel = tunable()
        launch(kernel)
        for name, data in published.items():
            assert data is not None
            store.put(name, data)
        launch(kernel)
        kernel[(4,)](X, OUT, n=1024)  # another call shape of the key
        assert all(one.runs(kernel.configs[0]) for one in gpu.launches)
    with SimulatedGPU() as gpu, deterministic(store):
        kernel = tunable()
        launch(kernel)
        assert gpu.launches[0].runs(kernel.configs[2])


def test_pruning_decides_which_is_the_first() -> None:
    def prune(configs: Any, arguments: Any, **meta: Any) -> Any:
        yield from reversed(configs)

    with SimulatedGPU() as gpu, deterministic(MemoryStore()):
        kernel = tunable(prune_configs_by={"early_config_prune": prune})
        launch(kernel)
        assert gpu.launches[0].runs(kernel.configs[2])


def test_tritons_own_results_are_not_taken_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They lie on one machine and not on another."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "own"))
    with SimulatedGPU(times=by_block) as gpu:
        kernel = tunable(cache_results=True)
        launch(kernel)
        assert kernel.best_config is kernel.configs[2]
        with deterministic(MemoryStore()):
            kernel = tunable(cache_results=True)
            gpu.forget()
            launch(kernel)
            assert gpu.launches[0].runs(kernel.configs[0])
        with tuning(MemoryStore()):
            kernel = tunable(cache_results=True)
            gpu.forget()
            launch(kernel)
            assert gpu.launches[0].runs(kernel.configs[2])
            assert gpu.benchmarked == []


def test_a_kernel_that_cannot_be_kept_has_a_first_candidate_too() -> None:
    strange = object()
    with SimulatedGPU() as gpu, deterministic(MemoryStore()) as process:

        @triton.jit
        def copy(x, out, n, what: tl.constexpr, BLOCK: tl.constexpr):
            i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
            tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

        kernel = triton.autotune(blocks(256, 64), ["what"])(copy)
        try:
            kernel[(4,)](X, OUT, 1024, what=strange)
        except Exception as error:  # some Tritons cannot hash such an argument
            pytest.skip(str(error))
        assert gpu.launches[0].runs(kernel.configs[0])
        assert gpu.benchmarked == []
    assert [outcome for outcome, _ in process.outcomes()] == ["not_persisted"]


def test_a_benchmark_of_ranks_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for those that have a verdict."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")

    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("called")

    store = MemoryStore()
    with SimulatedGPU() as gpu, deterministic(store) as process:
        kernel = tunable(do_bench=never)
        launch(kernel)
        assert gpu.launches[0].runs(kernel.configs[0])
    assert process.outcomes() == [("miss", "first_candidate")]


def test_a_warm_up_of_ranks_decides_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """What compiles may not run yet."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with SimulatedGPU(), deterministic(MemoryStore()):
        kernel = tunable(do_bench=lambda call, quantiles: 1.0)
        kernel.run(X, OUT, 1024, grid=(4,), warmup=True)
        assert kernel.cache == {}


# -- what does not run ---------------------------------------------------------------------------


def failing(*bad: int) -> Any:
    """A kernel some blocks of which do not compile."""

    @triton.jit
    def copy(x, out, n, BAD: tl.constexpr, BLOCK: tl.constexpr):
        tl.static_assert(BLOCK != BAD)
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

    return triton.autotune(blocks(256, 128, 64), ["n"])(copy)


def test_the_next_candidate_that_runs() -> None:
    store = MemoryStore()
    with SimulatedGPU() as gpu, deterministic(store) as process:
        kernel = failing()
        for _ in range(2):
            kernel[(4,)](X, OUT, 1024, BAD=256)
        assert [one.runs(kernel.configs[1]) for one in gpu.launches] == [True, True]
        assert list(kernel.cache.values()) == [kernel.configs[1]]
    assert process.events.problems() == ["candidate_does_not_run"]
    assert contents(store) == {}


def test_a_stored_winner_that_does_not_run_here() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block), tuning(store):
        failing()[(4,)](X, OUT, 1024, BAD=0)
    with SimulatedGPU() as gpu, deterministic(store) as process:
        kernel = failing()
        kernel[(4,)](X, OUT, 1024, BAD=64)
        assert [one.runs(kernel.configs[0]) for one in gpu.launches] == [True]
        assert gpu.benchmarked == []
    assert process.events.problems() == ["winner_does_not_run"]


def test_what_failed_as_it_was_tuned_is_tried_last() -> None:
    """It may end the process."""
    store = MemoryStore()
    with SimulatedGPU(times=by_block), tuning(store):
        failing()[(4,)](X, OUT, 1024, BAD=256)
    with SimulatedGPU() as gpu, deterministic(store):
        kernel = failing()
        kernel[(4,)](X, OUT, 1024, BAD=64)
        assert [one.runs(kernel.configs[1]) for one in gpu.launches] == [True]


def test_where_none_runs_the_first_ones_error_is_raised_and_nothing_remembered() -> None:
    @triton.jit
    def copy(x, out, n, BLOCK: tl.constexpr):
        tl.static_assert(BLOCK == 0, "none")

    with SimulatedGPU() as gpu, deterministic(MemoryStore()) as process:
        kernel = triton.autotune(blocks(256, 64), ["n"])(copy)
        with pytest.raises(triton.CompilationError, match="none"):
            launch(kernel)
        assert kernel.cache == {}
        assert gpu.launches == []
    assert process.events.problems() == ["candidate_does_not_run"] * 2


def test_an_error_of_the_programs_is_the_programs() -> None:
    class Stop(Exception):
        pass

    def stop(arguments: Any) -> None:
        raise Stop

    configs = [triton.Config({"BLOCK": size}, pre_hook=stop) for size in (64, 128)]
    with SimulatedGPU(), deterministic(MemoryStore()):
        kernel = triton.autotune(configs, ["n"])(make_copy())
        with pytest.raises(Stop):
            launch(kernel)
        assert kernel.cache == {}


def test_a_tuned_value_that_the_caller_gives_too_fails_as_with_stock() -> None:
    def error() -> str:
        kernel = tunable()
        with pytest.raises(ValueError, match="Conflicting") as caught:
            kernel[(4,)](X, OUT, 1024, BLOCK=64)
        return str(caught.value)

    with SimulatedGPU():
        stock = error()
    with SimulatedGPU(), deterministic(MemoryStore()):
        assert error() == stock


@pytest.mark.parametrize("captured", [False, True])
def test_so_it_does_after_sizes_of_its_key_were_launched(
    of_two_sizes: MemoryStore, captured: bool
) -> None:
    with SimulatedGPU() as gpu, deterministic(of_two_sizes):
        kernel = tunable(256, 64, key=())
        for n in (64, 65536):
            launch(kernel, n)
        capture = gpu.capture() if captured else contextlib.nullcontext()
        with pytest.raises((ValueError, TypeError), match=r"Conflicting|multiple values"), capture:
            kernel[(4,)](X, OUT, 1024, BLOCK=64)
        launch(kernel, 64)
        assert gpu.launches[-1].constants["BLOCK"] == 256


def test_a_list_that_is_pruned_to_nothing_fails_as_with_stock(of_two_sizes: MemoryStore) -> None:
    def error(kernel: Any) -> str:
        kernel.prune_configs = lambda kwargs: []
        with pytest.raises((ValueError, IndexError)) as caught:
            launch(kernel, 300)
        return repr(caught.value)

    with SimulatedGPU():
        stock = error(tunable(256, 64, key=()))
    with SimulatedGPU(), deterministic(of_two_sizes) as process:
        process.phases.serve()
        kernel = tunable(256, 64, key=())
        kernel.prune_configs = lambda kwargs: kernel.configs  # another list in each launch
        for n in (64, 65536):
            launch(kernel, n)
        assert error(kernel) == stock


# -- other launches ------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True])
def test_while_a_graph_is_captured_the_same_is_launched_and_remembered(known: bool) -> None:
    store = FaultyStore(tuned(1024) if known else MemoryStore())
    with SimulatedGPU(times=by_block) as gpu, deterministic(store) as process:
        kernel = tunable()
        with gpu.capture() as captured:
            launch(kernel)
            asked = len(store.calls)
            launch(kernel)
        launch(kernel)
        assert len(store.calls) == asked
        assert gpu.benchmarked == []
        assert len(captured) == 2
        assert all(one.runs(kernel.configs[2 if known else 0]) for one in gpu.launches)
        timings = getattr(kernel, "configs_timings", {})
        assert [time[0] for time in timings.values()] == ([256.0, 128.0, 64.0] if known else [])
    assert len(process.outcomes()) == 1
    assert process.events.problems() == []


def test_a_launch_of_nothing_decides_nothing_and_a_warm_up_compiles_one() -> None:
    with SimulatedGPU() as gpu, deterministic(MemoryStore()) as process:
        kernel = tunable()
        kernel.run(X, OUT, 1024, grid=(4,), warmup=True)
        kernel[(0,)](X, OUT, 1024)
        assert kernel.cache == {}
        assert gpu.launches == []
        assert kernel.best_config is kernel.configs[0]
        assert process.began_nothing
        launch(kernel)
        assert gpu.loaded == 1
        assert gpu.launches[0].runs(kernel.configs[0])
    assert process.untuned() == ["warmup", "no_programs"]


def test_threads_that_meet_one_key_launch_the_same() -> None:
    store = FaultyStore(MemoryStore())
    with SimulatedGPU() as gpu, deterministic(store), ThreadPoolExecutor(4) as pool:
        kernel = failing()

        def one(_: int) -> None:
            kernel[(4,)](X, OUT, 1024, BAD=256)

        list(pool.map(one, range(8)))
        assert [one.runs(kernel.configs[1]) for one in gpu.launches] == [True] * 8
    assert len(store.calls) == 1


def test_a_known_key_asks_nothing() -> None:
    store = FaultyStore(tuned(1024))
    with SimulatedGPU(), deterministic(store):
        kernel = tunable()
        launch(kernel)
        store.calls.clear()
        for _ in range(3):
            launch(kernel)
        assert store.calls == []


# -- a frozen set --------------------------------------------------------------------------------


def test_the_frozen_set_wins_over_the_store() -> None:
    frozen = freeze(tuned(1024)).frozen
    other = MemoryStore()
    with SimulatedGPU(times=lambda one: 1000 - by_block(one)), tuning(other):
        launch(tunable())
    with SimulatedGPU() as gpu, deterministic(other, frozen) as process:
        kernel = tunable()
        launch(kernel)
        launch(kernel, 2048)
        winner, first = gpu.launches
        assert winner.runs(kernel.configs[2])
        assert first.runs(kernel.configs[0])
    assert process.outcomes() == [("hit", "frozen"), ("miss", "first_candidate")]


def test_without_the_mode_what_is_not_frozen_is_tuned_and_kept() -> None:
    frozen, store, events = freeze(tuned(1024)).frozen, MemoryStore(), RememberedEvents()
    resolver = FrozenResolver(store, events, frozen=frozen)
    persistence = Persistence(resolver, events, raise_errors=True)
    hook = Hook(triton.runtime.autotuner, persistence, build_workers(0, events))
    with SimulatedGPU(times=lambda one: 1000 - by_block(one)) as gpu:
        hook.install()
        try:
            kernel = tunable(64, 128, 256)
            launch(kernel)
            assert gpu.benchmarked == []
            assert gpu.launches[0].runs(kernel.configs[0])
            launch(kernel, 2048)
            assert len(gpu.benchmarked) == 3
            assert gpu.launches[-1].runs(kernel.configs[2])
        finally:
            hook.uninstall()
    assert len([name for name in store.list("") if name.endswith(".verdict.json")]) == 1


# -- processes -----------------------------------------------------------------------------------

PROGRAM = """
import json, sys
import torch, triton
import triton.language as tl
import tuneonce
from tuneonce.testing import SimulatedGPU

tuneonce.install()

@triton.autotune([triton.Config({"BLOCK": size}) for size in (256, 128, 64)], ["n"])
@triton.jit
def copy(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

x, blocks = torch.zeros(4096), []
with SimulatedGPU(times=lambda one: float(one.constants["BLOCK"])) as gpu:
    for n in map(int, sys.argv[1:]):
        copy[(64,)](x, x, n)
        blocks.append(copy.best_config.kwargs["BLOCK"])
    measured = len(gpu.benchmarked)
tuneonce.ready()
print(json.dumps([blocks, measured]))
"""


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with when it was changed; empty if it is not there."""
    found = [folder, *folder.rglob("*")] if folder.exists() else []
    return {
        str(one): (one.stat().st_mtime_ns, one.stat().st_size if one.is_file() else 0)
        for one in found
    }


def test_processes_launch_the_same_and_write_nothing(warm_children: Any) -> None:
    children = warm_children
    on = {"TUNEONCE_DETERMINISTIC": "1"}
    for order in (["512", "1024"], ["1024", "512"]):
        assert children.run(PROGRAM, *order, **on) == [[256, 256], 0]
    assert tree(children.store) == {}
    assert children.run(PROGRAM, "1024", TUNEONCE_WORKERS="0") == [[64], 3]
    before = tree(children.store)
    assert len([name for name in before if name.endswith(".verdict.json")]) == 1
    for order, found in ((["512", "1024"], [256, 64]), (["1024", "512"], [64, 256])):
        assert children.run(PROGRAM, *order, **on) == [found, 0]
    assert tree(children.store) == before
    places = [children.home / "cache", children.triton_cache]
    assert not [path for place in places for path in place.rglob("journal*")]
