"""The caller's tensors are free as soon as the call has returned and the caller has let them go.

Without the collector: on a GPU, what waits for it is memory that the program lacks.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
from triton.runtime.autotuner import Autotuner
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.fakes import journals_of
from tests.kernels.equivalence_calls import accumulate
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import STOCK_RUN, Events, Lab, language_restored
from tests.kernels.jobs import make_add
from tests.kernels.pool_lab import BROKEN, autotuned
from tests.kernels.pool_lab import blocks as sizes
from tuneonce.events.progress import Progress
from tuneonce.resolution.resolver import Resolver
from tuneonce.settings import Recheck
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

FEW = sizes(32, 64, 128)
MORE = pytest.mark.thorough  # compilers than two: as with two
Call = Callable[[Any, Any], Any]


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "released"))
    device_facts.forget()


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@contextlib.contextmanager
def ours(
    store: Store, *, workers: int = 2, recheck: Recheck = Recheck.OFF
) -> Iterator[tuple[Hook, Events]]:
    events, journals = Events(), journals_of(store)
    resolver = Resolver(store, events, journals=journals)  # type: ignore[arg-type]
    hook = Hook(
        sys.modules["triton.runtime.autotuner"],
        Persistence(resolver, events, raise_errors=True),  # type: ignore[arg-type]
        build_workers(workers, events),  # type: ignore[arg-type]
        journals=journals,
        progress=Progress(),
        recheck=recheck,
    )
    assert hook.install()
    try:
        yield hook, events
    finally:
        hook.uninstall()
        assert Autotuner.run is STOCK_RUN


def tunable(**options: Any) -> Any:
    return triton.autotune(blocks(256, 128, 64), ["n"], **options)(make_copy())


def launch(kernel: Any, n: int = 1024) -> Call:
    return lambda x, out: kernel[covering(n)](x, out, n)


def kept(call: Call, *, error: type[BaseException] | None = None) -> int:
    """How many of a call's tensors are alive after it; it raises `error`, if that is given."""
    x, out = torch.arange(1024.0), torch.zeros(1024)
    watched = [weakref.ref(x), weakref.ref(out)]
    raised: type[BaseException] | None = None
    try:
        call(x, out)
    except (Exception, KeyboardInterrupt) as caught:
        raised = type(caught)
    assert raised is error
    del x, out
    return sum(one() is not None for one in watched)


def bench(call: Callable[[], Any], quantiles: Any) -> list[float]:
    call()
    return [1.0, 1.0, 1.0]


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "reset_to_zero": {"reset_to_zero": ["out"]},
    "restore_value": {"restore_value": ["out"]},
    "hooks": {
        "pre_hook": lambda arguments, reset_only=False: None,
        "post_hook": lambda arguments, exception: None,
    },
    "do_bench": {"do_bench": bench},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_by_stock(options: str) -> None:
    with SimulatedGPU(do_bench=True):
        assert kept(launch(tunable(**OPTIONS[options]))) == 0


@pytest.mark.parametrize("workers", [0, 2, pytest.param(4, marks=MORE)])
@pytest.mark.parametrize("race", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_by_a_tuning_and_by_what_comes_after(options: str, race: bool, workers: int) -> None:
    store = MemoryStore()
    with SimulatedGPU(do_bench=race), ours(store, workers=workers):
        kernel = tunable(**OPTIONS[options])
        for n in (1024, 1000, 1024):
            assert kept(launch(kernel, n)) == 0
    with SimulatedGPU(do_bench=race), ours(store, workers=workers) as (_, events):
        kernel = tunable(**OPTIONS[options])
        for n in (1024, 1000, 1024):
            assert kept(launch(kernel, n)) == 0
        assert events.outcomes == ["hit", "hit"]


def test_by_twenty_keys() -> None:
    with SimulatedGPU(do_bench=True), ours(MemoryStore()):
        kernel = tunable()
        assert [kept(launch(kernel, n)) for n in range(1000, 1020)] == [0] * 20


@pytest.mark.parametrize("workers", [0, 2, pytest.param(5, marks=MORE)])
def test_by_compilers(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    with SimulatedGPU(do_bench=True), ours(MemoryStore(), workers=workers):
        # One is rejected by the front end, one by the assembler.
        kernel = autotuned(make_add(), [*FEW, BROKEN])
        for n in (1024, 1000):
            assert kept(launch(kernel, n)) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_by_a_winner_whose_binary_is_gone(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    with SimulatedGPU(do_bench=True), ours(store, workers=workers):
        kernel = tunable()
        for n in (1024, 1000):
            launch(kernel, n)(torch.arange(1024.0), torch.zeros(1024))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    with SimulatedGPU(do_bench=True), ours(store, workers=workers) as (_, events):
        kernel = tunable()
        assert [kept(launch(kernel, n)) for n in (1024, 1000)] == [0, 0]
        assert events.outcomes == ["hit", "hit"]


@pytest.mark.parametrize("workers", [0, 2])
def test_by_a_tuning_that_is_interrupted(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    with SimulatedGPU(do_bench=True) as gpu, ours(MemoryStore(), workers=workers):
        kernel = tunable()
        gpu.fail(_killed, KeyboardInterrupt)
        assert kept(launch(kernel), error=KeyboardInterrupt) == 0


def test_by_a_tuning_of_what_is_missing() -> None:
    store = MemoryStore()
    with SimulatedGPU(do_bench=True), ours(store):
        triton.autotune(blocks(256, 128), ["n"])(make_copy())[covering(1024)](
            torch.arange(1024.0), torch.zeros(1024), 1024
        )
    with SimulatedGPU(do_bench=True), ours(store) as (_, events):
        assert kept(launch(tunable())) == 0
        assert events.outcomes == ["partial"]


def test_by_taking_over_what_stock_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_AUTOTUNING", "1")
    with SimulatedGPU():
        launch(tunable())(torch.arange(1024.0), torch.zeros(1024))
    with SimulatedGPU(), ours(MemoryStore()) as (_, events):
        assert kept(launch(tunable())) == 0
        assert events.outcomes == ["provisional"]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("recheck", [Recheck.REPORT, Recheck.FIX])
def test_by_a_recheck(recheck: Recheck, options: str) -> None:
    store = MemoryStore()
    with SimulatedGPU(do_bench=True), ours(store):
        launch(tunable(**OPTIONS[options]))(torch.arange(1024.0), torch.zeros(1024))
    with SimulatedGPU(do_bench=True), ours(store, recheck=recheck) as (_, events):
        kernel = tunable(**OPTIONS[options])
        assert kept(launch(kernel)) == 0
        assert len(events.of("recheck")) == 1


def _killed(launch: Any) -> bool:
    return bool(launch.constants["BLOCK"] == 64)


@pytest.mark.parametrize("race", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("options", ["plain", "restore_value"])
def test_by_a_tuning_that_fails(options: str, workers: int, race: bool) -> None:
    with SimulatedGPU(do_bench=race) as gpu, ours(MemoryStore(), workers=workers) as (_, events):
        kernel = tunable(**OPTIONS[options])
        gpu.fail(_killed, lambda: RuntimeError("CUDA error: an illegal memory access"))
        assert kept(launch(kernel), error=RuntimeError) == 0
        # Its first two candidates are known now, and the third known to fail.
        assert kept(launch(kernel)) == 0
        assert events.outcomes[0] == "miss"


@pytest.mark.parametrize("race", [True, False])
def test_by_candidates_that_do_not_fit(race: bool) -> None:
    with SimulatedGPU(do_bench=race) as gpu, ours(MemoryStore()):
        kernel = tunable()
        gpu.fail(_killed)
        assert kept(launch(kernel)) == 0
        gpu.fail(lambda launch: True)
        assert kept(launch(kernel, 1000), error=triton.runtime.errors.OutOfResources) == 0


def test_by_a_stored_winner_that_does_not_run() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=lambda one: float(one.constants["BLOCK"])), ours(store):
        launch(tunable())(torch.arange(1024.0), torch.zeros(1024))
    with SimulatedGPU() as gpu, ours(store) as (_, events):
        gpu.fail(_killed)
        assert kept(launch(tunable())) == 0
        assert [one["what"] for one in events.of("problem")] == ["winner_does_not_run"]


def test_by_a_memory_that_is_full() -> None:
    with SimulatedGPU(do_bench=True) as gpu, ours(MemoryStore()):
        gpu.fail(_killed, lambda: RuntimeError("CUDA error: out of memory"))
        assert kept(launch(tunable())) == 0


@pytest.mark.parametrize("known", [True, False])
def test_by_a_capture(known: bool) -> None:
    store = MemoryStore()
    if known:
        with SimulatedGPU(), ours(store):
            launch(tunable())(torch.arange(1024.0), torch.zeros(1024))
    with SimulatedGPU() as gpu, ours(store):
        kernel = tunable()
        with gpu.capture():
            assert kept(launch(kernel)) == 0


@pytest.mark.parametrize("workers", [0, 2, pytest.param(4, marks=MORE)])
def test_by_a_launch_that_decides_nothing(workers: int) -> None:
    with SimulatedGPU(), ours(MemoryStore(), workers=workers):
        kernel = tunable()
        assert kept(lambda x, out: kernel[(0,)](x, out, 1024)) == 0
        assert kept(lambda x, out: kernel.run(x, out, 1024, grid=(1,), warmup=True)) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_by_descriptors(workers: int) -> None:
    import triton.language as tl

    @triton.jit
    def copy(source, target, n, BLOCK: tl.constexpr):
        first = tl.program_id(0) * BLOCK
        target.store([first], source.load([first]))

    def set_block(arguments: dict[str, Any]) -> None:
        for name in ("source", "target"):
            arguments[name].block_shape = [arguments["BLOCK"]]

    def call(x: Any, out: Any) -> None:
        kernel[covering(1024)](
            TensorDescriptor.from_tensor(x, [64]), TensorDescriptor.from_tensor(out, [64]), 1024
        )

    configs = [triton.Config({"BLOCK": size}, pre_hook=set_block) for size in (64, 128)]
    with SimulatedGPU(do_bench=True), ours(MemoryStore(), workers=workers):
        kernel = triton.autotune(configs, ["n"])(copy)
        assert kept(call) == 0


@pytest.mark.parametrize("options", [{}, {"restore_value": ["out"]}, {"reset_to_zero": ["out"]}])
def test_in_the_interpreter(options: dict[str, Any]) -> None:
    lab, store = Lab(), MemoryStore()
    configs = [triton.Config({"BLOCK": size}) for size in (4, 8)]
    with language_restored():
        for _ in range(2):
            with ours(store):
                kernel = triton.autotune(
                    configs, ["n"], do_bench=lambda call, quantiles: [1.0, 1.0, 1.0], **options
                )(lab.interpreted(accumulate))
                run: Call = lambda x, out: kernel[(4,)](x, out, lab.mark, 32, 0)  # noqa: E731, B023
                assert kept(run) == 0
                assert kept(run) == 0
