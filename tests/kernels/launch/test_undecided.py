"""Launches that say nothing about their candidates: of no programs, and those that only compile.

Nothing is measured, remembered, recorded or published for them; the next real launch tunes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl

from tests.kernels.equivalence_calls import accumulate
from tests.kernels.equivalence_calls import blocks as interpreted_blocks
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import Events, Lab, tuneonce_on
from tests.kernels.launch.test_recheck import NOW, gpu_with, store_tuned
from tests.kernels.launch.test_recheck import tuneonce_on as checking
from tuneonce.settings import Recheck
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts

X, OUT = torch.arange(1024.0), torch.zeros(1024)


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


def tunable(*sizes: int, **options: Any) -> Any:
    # The slowest first, so that a winner is told from a default.
    return triton.autotune(blocks(*(sizes or (256, 128, 64))), [], **options)(make_copy())


def by_block(launch: Any) -> float:
    return float(launch.constants["BLOCK"])


def nothing_kept(kernel: Any, store: MemoryStore) -> bool:
    return (
        kernel.cache == {}
        and "configs_timings" not in vars(kernel)
        and "bench_time" not in vars(kernel)
        and list(store.list("")) == []
    )


def told(events: Events) -> list[str]:
    return [one["why"] for one in events.of("untuned")]


# -- no programs ---------------------------------------------------------------------------------

EMPTY = [(0,), (4, 0), (4, 4, 0), (0, 1, 1, 7), [0], covering(0), torch.Size([0])]


@pytest.mark.parametrize("do_bench", [False, True])
@pytest.mark.parametrize("grid", EMPTY, ids=lambda grid: "called" if callable(grid) else str(grid))
def test_a_launch_of_no_programs_decides_nothing(grid: Any, do_bench: bool) -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block, do_bench=do_bench) as gpu, tuneonce_on(store) as events:
        kernel = tunable()
        result = kernel[grid](X, OUT, 0)
        assert type(result).__name__ == "CompiledKernel"
        assert kernel.best_config is kernel.configs[0]
        assert gpu.launches == gpu.benchmarked == []
        assert nothing_kept(kernel, store)
        kernel[grid](X, OUT, 0)
        assert nothing_kept(kernel, store)
        kernel[covering(1024)](X, OUT, 1024)
        assert kernel.best_config is kernel.configs[2]
        kernel[grid](X, OUT, 0)
        assert kernel.best_config is kernel.configs[2]
    assert told(events) == ["no_programs"]
    assert events.outcomes == ["miss"]
    assert len(events.of("tune")) == 1
    assert events.of("problem") == []


def test_only_one_candidate_is_compiled_for_nothing() -> None:
    with SimulatedGPU() as gpu, tuneonce_on(MemoryStore()):
        tunable()[(0,)](X, OUT, 0)
        assert gpu.loaded == 1


def test_the_stored_winner_is_launched_on_nothing_too() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block), tuneonce_on(store):
        tunable()[covering(1024)](X, OUT, 1024)
    before = {name: store.get(name) for name in store.list("")}
    with SimulatedGPU(times=by_block), tuneonce_on(store) as events:
        kernel = tunable()
        kernel[covering(0)](X, OUT, 0)
        assert kernel.best_config is kernel.configs[2]
        assert kernel.cache == {}
        assert "configs_timings" not in vars(kernel)
        assert {name: store.get(name) for name in store.list("")} == before
        kernel[covering(1024)](X, OUT, 1024)
    assert events.outcomes == ["hit"]
    assert told(events) == ["no_programs"]


def test_one_launch_of_nothing_among_many_asks_the_store_once() -> None:
    class Counting(MemoryStore):
        asked = 0

        def get(self, name: str) -> bytes | None:
            self.asked += 1
            return super().get(name)

    store = Counting()
    with SimulatedGPU(), tuneonce_on(store):
        kernel = tunable()
        kernel[(0,)](X, OUT, 0)
        asked = store.asked
        for _ in range(5):
            kernel[(0,)](X, OUT, 0)
        assert store.asked == asked


def test_it_is_nothing_only_if_it_is_for_every_candidate() -> None:
    # A grid that is rounded down: the first candidate has no programs, the last one has.
    with SimulatedGPU(times=by_block) as gpu, tuneonce_on(MemoryStore()) as events:
        kernel = tunable()
        kernel[lambda meta: (100 // meta["BLOCK"],)](X, OUT, 100)
        assert len(gpu.benchmarked) == 3
    assert told(events) == []


def test_the_candidates_that_are_left_by_pruning_are_asked() -> None:
    def prune(configs: Any, arguments: Any, **meta: Any) -> Any:
        return [config for config in configs if config.kwargs["BLOCK"] != 64]

    store = MemoryStore()
    with SimulatedGPU(times=by_block), tuneonce_on(store) as events:
        kernel = tunable(prune_configs_by={"early_config_prune": prune})
        kernel[lambda meta: (100 // meta["BLOCK"],)](X, OUT, 100)
        assert nothing_kept(kernel, store)
    assert told(events) == ["no_programs"]


@pytest.mark.parametrize("sizes", [(64,), (128, 64)])
def test_one_candidate(sizes: tuple[int, ...]) -> None:
    def prune(configs: Any, arguments: Any, **meta: Any) -> Any:
        return configs[:1]

    store = MemoryStore()
    with SimulatedGPU(times=by_block) as gpu, tuneonce_on(store):
        kernel = tunable(*sizes, prune_configs_by={"early_config_prune": prune})
        kernel[(0,)](X, OUT, 0)
        assert gpu.launches == gpu.benchmarked == []
        assert nothing_kept(kernel, store)
        assert kernel.best_config is kernel.configs[0]


class Stop(Exception):
    pass


@pytest.mark.parametrize("grid", [(), 3, None, "raises"], ids=str)
def test_a_grid_that_is_wrong_fails_as_with_stock(grid: Any) -> None:
    def wrong(meta: Any) -> Any:
        raise Stop

    given = wrong if grid == "raises" else grid

    def error() -> type[Exception]:
        kernel = tunable()
        with pytest.raises(Exception) as caught:  # noqa: PT011
            kernel[given](X, OUT, 1024)
        assert kernel.cache == {}
        return caught.type

    with SimulatedGPU():
        stock = error()
    store = MemoryStore()
    with SimulatedGPU(), tuneonce_on(store) as events:
        assert error() is stock
    assert told(events) == []
    assert [name for name in store.list("") if "verdict" in name] == []


def test_a_value_that_is_given_twice_fails_as_with_stock() -> None:
    with SimulatedGPU(), tuneonce_on(MemoryStore()):
        kernel = tunable()
        with pytest.raises(ValueError, match="Conflicting"):
            kernel[(0,)](X, OUT, 0, BLOCK=64)


def test_a_candidate_that_does_not_fit_is_passed_over() -> None:
    store = MemoryStore()
    with SimulatedGPU(max_shared_mem=1024), tuneonce_on(store):
        kernel = triton.autotune(
            [triton.Config({"BLOCK": size}, num_warps=4) for size in (1024, 64)], []
        )(make_sum())
        kernel[(0,)](X, OUT, 0)
        assert kernel.best_config is kernel.configs[1]
        assert nothing_kept(kernel, store)


def make_sum() -> Any:
    @triton.jit
    def scan(x, out, n, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        value = tl.sort(tl.load(x + i, mask=i < n))
        tl.store(out + i, value, mask=i < n)

    return scan


def test_in_a_capture() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block), tuneonce_on(store):
        tunable()[covering(1024)](X, OUT, 1024)
    with SimulatedGPU(times=by_block) as gpu, tuneonce_on(store) as events:
        kernel = tunable()
        with gpu.capture() as captured:
            kernel[covering(0)](X, OUT, 0)
        assert captured == []
        assert kernel.cache == {}
        assert "configs_timings" not in vars(kernel)
    assert told(events) == ["no_programs"]
    assert events.of("problem") == []


def test_a_verdict_is_not_checked_by_nothing() -> None:
    store = store_tuned()
    before = {name: store.get(name) for name in store.list("")}
    with gpu_with(NOW) as gpu, checking(store, Recheck.FIX) as events:
        kernel = triton.autotune(blocks(256, 128, 64), ["n"])(make_copy())
        kernel[covering(0)](X, OUT, 1024)
        assert gpu.launches == []
        assert events.of("recheck") == []
        assert {name: store.get(name) for name in store.list("")} == before
        kernel[covering(1024)](X, OUT, 1024)
        assert len(events.of("recheck")) == 1


def test_what_stock_kept_is_not_taken_over_by_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_AUTOTUNING", "1")
    with SimulatedGPU(times=by_block):
        triton.autotune(blocks(256, 64), ["n"])(make_copy())[covering(1024)](X, OUT, 1024)
    store = MemoryStore()
    with SimulatedGPU(times=by_block), tuneonce_on(store):
        kernel = triton.autotune(blocks(256, 64), ["n"])(make_copy())
        kernel[covering(0)](X, OUT, 1024)
        assert nothing_kept(kernel, store)
        kernel[covering(1024)](X, OUT, 1024)
        assert kernel.best_config is kernel.configs[1]


def test_in_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    lab, store = Lab(), MemoryStore()

    def scenario(lab: Lab) -> Any:
        kernel = lab.autotune(lab.interpreted(accumulate), interpreted_blocks(4, 8, 16), ["n"])
        yield lambda: kernel[(0,)](lab.x, lab.out, lab.mark, 32, 0)
        yield lambda: kernel.run(lab.x, lab.out, lab.mark, 32, 0, grid=(4,), warmup=True)

    with tuneonce_on(store) as events:
        steps = lab.run(scenario)
    assert [step.cache for step in steps] == [[[]], [[]]]
    assert all(step.buffers["out"] == [0.0] * 32 for step in steps)
    assert [event for step in steps for event in step.events if event[0] == "benchmark"] == []
    assert list(store.list("")) == []
    assert told(events) == ["no_programs", "warmup"]


# -- only compiling ------------------------------------------------------------------------------


def warm(kernel: Any, n: int = 1024, grid: Any = None) -> Any:
    return kernel.run(X, OUT, n, grid=covering(n) if grid is None else grid, warmup=True)


def test_a_warm_up_compiles_every_candidate_and_decides_nothing() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block) as gpu, tuneonce_on(store) as events:
        kernel = tunable()
        result = warm(kernel)
        assert type(result).__name__ == "CompiledKernel"
        assert gpu.launches == gpu.benchmarked == []
        assert gpu.loaded == 0
        assert nothing_kept(kernel, store)
        [cache] = [caches[0] for caches in kernel.fn.device_caches.values()]
        assert len(cache) == 3
        kernel[covering(1024)](X, OUT, 1024)
        assert kernel.best_config is kernel.configs[2]
        assert len(cache) == 3
    assert told(events) == ["warmup"]
    assert len(events.of("tune")) == 1
    assert events.outcomes == ["miss"]


@pytest.mark.parametrize("grid", [(0,), (1,), None, lambda meta: 1 / 0])
def test_no_grid_is_asked_for(grid: Any) -> None:
    store = MemoryStore()
    with SimulatedGPU(), tuneonce_on(store) as events:
        kernel = tunable()
        kernel.run(X, OUT, 1024, grid=grid, warmup=True)
        assert nothing_kept(kernel, store)
    assert told(events) == ["warmup"]


def test_a_warm_up_of_a_stored_key_returns_its_winner() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block), tuneonce_on(store):
        tunable()[covering(1024)](X, OUT, 1024)
    with SimulatedGPU(times=by_block), tuneonce_on(store):
        kernel = tunable()
        found = warm(kernel)
        assert kernel.cache == {}
        assert kernel.best_config is kernel.configs[2]
        kernel[covering(1024)](X, OUT, 1024)
        assert kernel[covering(1024)](X, OUT, 1024) is found


def test_a_warm_up_of_a_known_key_is_as_ever() -> None:
    with SimulatedGPU(times=by_block) as gpu, tuneonce_on(MemoryStore()) as events:
        kernel = tunable()
        launched = kernel[covering(1024)](X, OUT, 1024)
        gpu.forget()
        assert warm(kernel) is launched
        assert gpu.launches == []
    assert told(events) == []


def test_a_candidate_that_does_not_compile_is_passed_over() -> None:
    @triton.jit
    def picky(x, out, n, BLOCK: tl.constexpr):
        tl.static_assert(BLOCK < 256)
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

    with SimulatedGPU(), tuneonce_on(MemoryStore()):
        kernel = triton.autotune(blocks(256, 128, 64), [])(picky)
        warm(kernel)
        assert kernel.best_config is kernel.configs[1]


def test_a_candidate_that_is_known_to_fail_is_left_alone() -> None:
    store = MemoryStore()
    with SimulatedGPU() as gpu, tuneonce_on(store):
        gpu.fail(lambda launch: launch.constants["BLOCK"] == 256)
        triton.autotune(blocks(256, 128), [])(make_copy())[covering(1024)](X, OUT, 1024)
    with SimulatedGPU(), tuneonce_on(store):
        # Of the other list nothing else is known.
        kernel = tunable(256, 64)
        warm(kernel)
        [cache] = [caches[0] for caches in kernel.fn.device_caches.values()]
        assert len(cache) == 1
        assert kernel.best_config is kernel.configs[1]


def test_a_warm_up_in_a_capture() -> None:
    store = MemoryStore()
    with SimulatedGPU() as gpu, tuneonce_on(store):
        kernel = tunable()
        with gpu.capture() as captured:
            warm(kernel)
        assert captured == []
        assert nothing_kept(kernel, store)


def test_buffers_are_left_alone() -> None:
    called: list[str] = []

    def hook(arguments: Any, reset_only: bool = False) -> None:
        called.append("pre_hook")

    with SimulatedGPU(), tuneonce_on(MemoryStore()):
        kernel = tunable(pre_hook=hook)
        warm(kernel)
        kernel[(0,)](X, OUT, 0)
    assert called == []


def test_the_listener_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(triton.knobs.autotuning, "listener"):
        pytest.skip("this Triton has no autotune listener")
    heard: list[Any] = []
    with SimulatedGPU(), tuneonce_on(MemoryStore()):
        monkeypatch.setattr(triton.knobs.autotuning, "listener", lambda **told: heard.append(told))
        kernel = tunable()
        warm(kernel)
        kernel[(0,)](X, OUT, 0)
    assert heard == []


@pytest.mark.parametrize("first", ["empty", "warmup"])
def test_each_candidates_pre_hook_runs_as_with_stock(first: str) -> None:
    seen: list[int] = []

    def hook(arguments: dict[str, Any]) -> None:
        seen.append(arguments["BLOCK"])

    configs = [triton.Config({"BLOCK": size}, pre_hook=hook) for size in (256, 64)]
    with SimulatedGPU(), tuneonce_on(MemoryStore()):
        kernel = triton.autotune(configs, [])(make_copy())
        calls: dict[str, Callable[[], Any]] = {
            "empty": lambda: kernel[(0,)](X, OUT, 0),
            "warmup": lambda: warm(kernel),
        }
        calls[first]()
    # Before it is compiled, since it may shape what the binary depends on.
    assert set(seen) == ({256} if first == "empty" else {256, 64})


# -- what drops `warmup` -------------------------------------------------------------------------


class Dropping:
    """Stands between the tuner and the kernel, as a tracer may, and launches for real."""

    def __init__(self, fn: Any) -> None:
        self.fn, self.arg_names = fn, fn.arg_names

    def run(self, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> Any:
        return self.fn[grid](*args, **kwargs)


def dropping(way: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A kernel whose `warmup` argument somebody drops on its way."""
    kernel = make_copy()
    stock = type(kernel).run

    def run(self: Any, *args: Any, warmup: bool = False, **kwargs: Any) -> Any:
        return stock(self, *args, warmup=False, **kwargs)

    if way == "class":
        monkeypatch.setattr(type(kernel), "run", functools.wraps(stock)(run))
    elif way == "object":
        kernel.run = functools.partial(run, kernel)
    elif way == "subclass":
        kernel.__class__ = type("Mine", (type(kernel),), {"run": run})
    else:
        kernel = Dropping(kernel)
    return kernel


@pytest.mark.parametrize("way", ["wrapper", "class", "object", "subclass"])
def test_no_candidate_is_launched_where_its_binary_is_only_looked_for(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded: list[int] = []

    def guard(arguments: Any, reset_only: bool = False) -> None:
        guarded.append(not reset_only)

    with SimulatedGPU(times=by_block, do_bench=True) as gpu, tuneonce_on(MemoryStore()):
        kernel = triton.autotune(blocks(256, 128, 64), ["n"], pre_hook=guard)(
            dropping(way, monkeypatch)
        )
        for n in (1024, 512, 768):  # all binaries are there from the second on
            gpu.forget()
            guarded.clear()
            kernel[covering(n)](X, OUT, n)
            assert len(gpu.launches) - sum(guarded) == 1
        gpu.forget()
        guarded.clear()
        kernel.run(X, OUT, 256, grid=covering(256), warmup=True)
        assert len(gpu.launches) - sum(guarded) == 1
