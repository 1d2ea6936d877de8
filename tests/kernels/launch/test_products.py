"""A process whose GPUs are of two products: what wins on one is not launched on the other."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import Events, tuneonce_on
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch import hook as hook_module

X, OUT = torch.arange(1024.0), torch.zeros(1024)


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()
    yield
    device_facts.forget()


@contextlib.contextmanager
def machine(
    store: Any, *, several: bool = True, devices: int = 2
) -> Iterator[tuple[SimulatedGPU, Events]]:
    """The first GPU likes large blocks, others small ones; the large ones do not fit there."""

    def times(launch: Any) -> float:
        block = float(launch.constants["BLOCK"])
        if launch.programs > 1000:  # there the middle is the best on both
            return 1.0 + abs(block - 128)
        return block if several and launch.device else 1000.0 / block

    gpu = SimulatedGPU(devices=devices, times=times)
    with gpu, tuneonce_on(store) as events, pytest.MonkeyPatch.context() as patch:
        if several:
            gpu.fail(lambda launch: launch.device > 0 and launch.constants["BLOCK"] == 256)
            of_torch = torch.cuda.get_device_properties

            def properties(device: Any = None) -> Any:
                found = of_torch(device)
                number = gpu.thread.device if device is None else int(device)
                own = {"name": "small", "multi_processor_count": 82} if number else {}
                names = [name for name in dir(found) if name[0] != "_"]
                return types.SimpleNamespace(**{n: getattr(found, n) for n in names} | own)

            patch.setattr(torch.cuda, "get_device_properties", properties)
        yield gpu, events


def launch(kernel: Any, device: int, n: int = 1024) -> int:
    torch.cuda.set_device(device)
    kernel[covering(n)](X, OUT, n)
    block: int = kernel.best_config.kwargs["BLOCK"]
    return block


def test_each_product_is_tuned_for_and_keeps_its_winner() -> None:
    store = MemoryStore()
    for outcomes in (["miss", "miss"], ["hit", "hit"]):
        with machine(store, devices=3) as (_, events):
            kernel = triton.autotune(blocks(64, 128, 256), ["n"])(make_copy())
            assert [launch(kernel, device) for device in (0, 1, 2, 0, 1, 2)] == [256, 64, 64] * 2
            assert events.outcomes == outcomes  # two of the three are of one product
            assert len(kernel.cache) == 2
            assert events.of("problem") == []


def test_a_product_that_comes_late_is_tuned_for_whatever_size_was_launched_last() -> None:
    with machine(MemoryStore()):
        kernel = triton.autotune(blocks(64, 128, 256), [])(make_copy())
        sizes = [1024, 1024 * 1024, 1024]
        assert [launch(kernel, 0, n) for n in sizes] == [256, 128, 256]
        assert [launch(kernel, 1, n) for n in sizes] == [64, 128, 64]


def test_known_keys_take_the_short_way_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    long_ways: list[int] = []
    stock_key_of = hook_module.stock_key_of

    def counting(*args: Any) -> Any:
        long_ways.append(1)
        return stock_key_of(*args)

    monkeypatch.setattr(hook_module, "stock_key_of", counting)
    with machine(MemoryStore()):
        kernel = triton.autotune(blocks(64, 128, 256), ["n"])(make_copy())
        for device in (0, 1):
            launch(kernel, device)
        long_ways.clear()
        assert [launch(kernel, device) for device in (0, 1) * 5] == [256, 64] * 5
        assert long_ways == []


def test_what_the_program_has_put_into_the_cache_holds_for_all() -> None:
    with machine(MemoryStore()) as (gpu, _):
        kernel = triton.autotune(blocks(64, 128, 256), ["n"])(make_copy())
        kernel.cache[(1024, "torch.float32", "torch.float32")] = kernel.configs[1]
        assert [launch(kernel, device) for device in (0, 1, 0, 1)] == [128] * 4
        assert gpu.benchmarked == []
        kernel.cache.clear()
        assert [launch(kernel, device) for device in (0, 1, 0, 1)] == [256, 64] * 2


def test_one_product_costs_nothing() -> None:
    with machine(MemoryStore(), several=False) as (_, events):
        kernel = triton.autotune(blocks(64, 128, 256), ["n"])(make_copy())
        assert [launch(kernel, device) for device in (0, 1)] == [256, 256]
        assert events.outcomes == ["miss"]
        assert list(kernel.cache) == [(1024, "torch.float32", "torch.float32")]
        [(_, key_of, _)] = kernel._tuneonce_state.shapes.values()
        assert "product" not in key_of.__code__.co_names
