"""Equal to stock Triton where kernels are compiled: drivers, devices, listeners, Triton's cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.kernels.equivalence_gpu import (
    Call,
    GpuLab,
    blocks,
    covering,
    make_copy,
    run_ours,
    visible,
)
from tests.kernels.equivalence_lab import OFF, VERSION, Forgetful
from tuneonce.store.memory import MemoryStore
from tuneonce.triton.kernel import device_facts


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compiled for one test serves the next ones; tuning results are kept apart."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    monkeypatch.setenv("TRITON_PRINT_AUTOTUNING", "1")
    device_facts.forget()


def grids(lab: GpuLab) -> Iterator[Call]:
    kernel = lab.autotune(make_copy(), blocks(64, 128, 256), ["n"])
    yield lambda: kernel[(4,)](lab.x, lab.out, 1024)
    yield lambda: kernel[[4]](lab.x, lab.out, 1024)
    yield lambda: kernel[(4, 1, 1)](lab.x, lab.out, 1000)
    yield lambda: kernel[covering(1024)](lab.x, lab.out, 1000)
    yield lambda: kernel[[2, 2]](lab.x, lab.out, 900)
    yield lambda: kernel[lambda meta: [meta["BLOCK"] // 64]](lab.x, lab.out, n=900)
    yield lambda: kernel[(0,)](lab.x, lab.out, 900)
    yield lambda: kernel[(1,)](n=900, out=lab.out, x=lab.x)


def devices(lab: GpuLab) -> Iterator[Call]:
    kernel = lab.autotune(make_copy(), blocks(64, 128, 256), ["n"])
    for device in (0, 1, 0, 1):
        lab.gpu.set_current_device(device)
        yield lambda: kernel[covering(1024)](lab.x, lab.out, 1024)
    yield lambda: kernel[covering(1024)](lab.x, lab.out, 512)
    lab.gpu.set_current_device(0)
    yield lambda: kernel[covering(1024)](lab.x, lab.out, 512)


def closures(lab: GpuLab) -> Iterator[Call]:
    def make(value: int) -> Any:
        factor = tl.constexpr(value)

        @triton.jit
        def scale(x, out, n, BLOCK: tl.constexpr):
            i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
            tl.store(out + i, tl.load(x + i, mask=i < n) * factor, mask=i < n)

        return lab.autotune(scale, blocks(64, 128), ["n"])

    kernels = [make(2), make(3)]
    for _ in range(2):
        for kernel in kernels:
            yield lambda kernel=kernel: kernel[covering(1024)](lab.x, lab.out, 1024)


def candidates_that_do_not_fit(lab: GpuLab) -> Iterator[Call]:
    kernel = lab.autotune(make_copy(), blocks(64, 128, 256), ["n"])
    lab.gpu.fail(lambda launch: launch.constants["BLOCK"] == 64)
    for n in (1024, 1000, 1024):
        yield lambda n=n: kernel[covering(1024)](lab.x, lab.out, n)


def no_candidate_fits(lab: GpuLab) -> Iterator[Call]:
    kernel = lab.autotune(make_copy(), blocks(64, 128), ["n"])
    lab.gpu.fail(lambda launch: True)
    for n in (1024, 1024):
        yield lambda n=n: kernel[covering(1024)](lab.x, lab.out, n)


def warm_ups(lab: GpuLab) -> Iterator[Call]:
    kernel = lab.autotune(make_copy(), blocks(64, 128, 256), ["n"])

    def warm_up() -> list[str]:
        return [one.metadata.num_warps for one in kernel.warmup(lab.x, lab.out, 1024, grid=(1,))]

    yield warm_up
    yield lambda: kernel[covering(1024)](lab.x, lab.out, 1024)
    yield warm_up
    yield lambda: kernel.run(lab.x, lab.out, 1024, grid=(1,), warmup=True).metadata.num_warps


def descriptors(lab: GpuLab) -> Iterator[Call]:
    @triton.jit
    def copy(source, target, n, BLOCK: tl.constexpr):
        first = tl.program_id(0) * BLOCK
        target.store([first, 0], source.load([first, 0]))

    def set_block(arguments: dict[str, Any]) -> None:
        for name in ("source", "target"):
            arguments[name].block_shape = [arguments["BLOCK"], 16]

    configs = [triton.Config({"BLOCK": size}, pre_hook=set_block) for size in (16, 32)]
    kernel = lab.autotune(copy, configs, ["n"])
    source = TensorDescriptor.from_tensor(lab.x.view(64, 16), [1, 16])
    target = TensorDescriptor.from_tensor(lab.out.view(64, 16), [1, 16])
    for n in (64, 60, 64):
        yield lambda n=n: kernel[covering(n)](source, target, n)
        lab.note(tuple(source.block_shape))


def pruned_to_one(lab: GpuLab) -> Iterator[Call]:
    by = {"early_config_prune": lambda configs, arguments, **meta: configs[1:2]}
    kernel = lab.autotune(make_copy(), blocks(64, 128), ["n"], prune_configs_by=by)
    for n in (1024, 1000, 1024):
        yield lambda n=n: kernel[covering(1024)](lab.x, lab.out, n)


SCENARIOS = [
    grids,
    devices,
    closures,
    candidates_that_do_not_fit,
    no_candidate_fits,
    warm_ups,
    descriptors,
    pruned_to_one,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_equal_to_stock(scenario: Any) -> None:
    # The first size that is met decides for all in stock Triton, and here where that is asked for.
    policies = replace(OFF, work_classes=scenario is not grids)
    stock = GpuLab(devices=2).run(scenario)
    forgetful, _ = run_ours(scenario, Forgetful(), policies=policies, devices=2)
    assert visible(forgetful) == visible(stock)
    store = MemoryStore()
    cold, events = run_ours(scenario, store, policies=policies, devices=2)
    if scenario is grids:  # whose last call has another order of keyword arguments
        assert visible(cold[:-1]) == visible(stock[:-1])
    else:
        assert visible(cold) == visible(stock)
    assert events.of("problem") == []
    warm, events = run_ours(scenario, store, policies=policies, devices=2)
    assert [step.benchmarked for step in warm] == [[]] * len(warm)
    assert [step.printed for step in warm] == [""] * len(warm)
    assert [step.outcome for step in warm] == [step.outcome for step in stock]
    assert [step.cache for step in warm] == [step.cache for step in cold]
    assert [step.best_config for step in warm] == [step.best_config for step in cold]
    for our, their in zip(warm, cold, strict=True):
        by_benchmarks = len([one for one in their.benchmarked if one[2] is None])
        assert our.launches == their.launches[by_benchmarks:]
        assert our.timings == their.timings


@pytest.mark.parametrize("scenario", [devices, candidates_that_do_not_fit, closures])
def test_a_second_start_is_as_with_the_cache_of_triton(
    scenario: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    run_ours(scenario, store, devices=2)
    ours, _ = run_ours(scenario, store, devices=2)
    monkeypatch.setenv("TRITON_CACHE_AUTOTUNING", "1")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    GpuLab(devices=2).run(scenario)
    stock = GpuLab(devices=2).run(scenario)
    assert [step.benchmarked for step in stock] == [[]] * len(stock)
    # Stock launches a configuration read from its file, ours the program's own.
    for step in (*ours, *stock):
        step.cache = [[(key, about and about[1:]) for key, about in one] for one in step.cache]
        step.best_config = [about and about[1:] for about in step.best_config]
    assert visible(ours) == visible(stock)
    if VERSION >= (3, 8):
        told = [one for step in ours for one in step.told]
        assert told
        assert all(cache_hit and no_duration for *_, cache_hit, no_duration in told)
