"""Hooks of the program's are called for launches, and for nothing else that a tuning asks."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from triton import knobs

from tests.kernels.jobs import make_add, make_scale
from tests.kernels.pool_lab import FOUR, autotuned, blocks, launch, tuner
from tuneonce.store.memory import MemoryStore


@pytest.mark.parametrize("workers", [1, 2, 6])
def test_a_pre_run_hook_is_called_once_for_each_launch(workers: int) -> None:
    kernel = make_scale()
    called: list[Any] = []
    kernel.add_pre_run_hook(lambda *args, **kwargs: called.append(kwargs["BLOCK"]))
    store = MemoryStore()
    for _ in range(2):  # tuned, and found in the store
        with tuner(workers=workers, store=store) as tuning:
            called.clear()
            launch(autotuned(kernel, blocks(*FOUR)))
            launches = [one.constants["BLOCK"] for one in tuning.gpu.launches]
            assert called == launches
            if workers > 1 and tuning.of("tune"):
                assert tuning.ahead == 4


@pytest.mark.parametrize("workers", [1, 2, 6])
@pytest.mark.parametrize("name", ["jit_cache_hook", "jit_post_compile_hook"])
def test_a_jit_hook_is_called_once_for_each_variant(
    workers: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []

    def hook(**call: Any) -> None:
        called.append(call["compile"]["num_warps"])

    monkeypatch.setattr(knobs.runtime, name, hook)
    configs = [triton.Config({"BLOCK": 64}, num_warps=w) for w in (1, 2, 4, 8)]
    with tuner(workers=workers) as tuning:
        launch(autotuned(make_scale(), configs))
        assert sorted(called) == [1, 2, 4, 8]
        assert not tuning.events.problems()


def test_what_a_pre_run_hook_sets_is_read_by_every_candidate() -> None:
    """So nothing is compiled before it was called."""
    with tuner(workers=6) as tuning:
        kernel = autotuned(told, [triton.Config({"BLOCK": 64}, num_warps=w) for w in (1, 2, 4)])
        told.add_pre_run_hook(set_it)
        try:
            x = torch.zeros(64)
            code = kernel[(1,)](x, x, 64)
        finally:
            told.pre_run_hooks.clear()
        assert tuning.ahead == 0
    assert "4.200000e+01" in code.asm["ttir"]


SET = tl.constexpr(1.0)


@triton.jit
def told(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + SET, mask=i < n)


def set_it(*args: Any, **kwargs: Any) -> None:
    globals()["SET"] = tl.constexpr(42.0)


def test_a_wrapper_that_is_not_tritons_launches_nothing_more() -> None:
    """It may not pass on that this is no launch."""

    class Wrapper(triton.runtime.jit.KernelInterface):
        def __init__(self, fn: Any) -> None:
            self.fn, self.arg_names = fn, fn.arg_names

        def run(self, *args: Any, warmup: bool = False, **kwargs: Any) -> Any:
            return self.fn.run(*args, warmup=False, **kwargs)

    def count(workers: int) -> int:
        with tuner(workers=workers) as tuning:
            launch(autotuned(Wrapper(make_add()), blocks(*FOUR)))
            assert tuning.ahead == 0
            return len(tuning.gpu.launches)

    assert count(6) == count(1)


def test_two_threads_find_out_at_once_and_the_kernel_is_as_it_was() -> None:
    kernel = make_scale()
    before = {name: vars(kernel)[name] for name in ("pre_run_hooks", "fn", "params")}
    with tuner(workers=2):
        tuned = [autotuned(kernel, blocks(*FOUR, warps=w)) for w in (1, 2)]
        threads = [threading.Thread(target=launch, args=(one,)) for one in tuned]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {name: vars(kernel)[name] for name in before} == before
    assert vars(kernel).get("compile") in (None, triton.compiler.compile)
    assert "_call_hook" not in vars(kernel)
