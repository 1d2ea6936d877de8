"""Programs that fool by how they call: with options, hooks, counts, and kernels of one name."""

from __future__ import annotations

from typing import Any

import names
import same_name_one
import same_name_two
import triton
import triton.language as tl
from lab import blocks, floats, warps


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def options_at_call(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    tl.device_assert(value < n, "too large")
    tl.store(out + i, value * value + value, mask=i < n)


def program_options_at_call(recorder: Any) -> None:
    """Some of which stock refuses, by version."""
    x = floats(64)
    recorder.launch(options_at_call, x, x, 64)
    recorder.launch(options_at_call, x, x, 60, debug=True)
    recorder.launch(options_at_call, x, x, 32, enable_fp_fusion=False)
    recorder.launch(options_at_call, x, x, 30, maxnreg=32)
    recorder.launch(options_at_call, x, x, 16, num_ctas=2)
    recorder.launch(options_at_call, x, x, 15, sanitize_overflow=True)
    recorder.launch(options_at_call, x, x, 12, not_an_option=True)


def program_same_name(recorder: Any) -> None:
    x = floats(64)
    for module in (same_name_one, same_name_two):
        recorder.launch(module.same_name, x, x, 64)
        recorder.launch(module.same_name, x.half(), x, 60)
        recorder.launch(module.same_name_digested, x, x, 64)


@triton.autotune(warps(1, 2, 4, 8, BLOCK=64), ["n"])
@triton.jit
def warps_elsewhere(x, out, n, BLOCK: tl.constexpr):
    """Candidates share everything but what a callee of another module asks for."""
    i = tl.arange(0, BLOCK)
    tl.store(out + i, names.by_warps(tl.load(x + i, mask=i < n)), mask=i < n)


def program_warps_elsewhere(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(warps_elsewhere, x, x, 64)
    recorder.launch(warps_elsewhere, x.half(), x, 60)


def _set_by_warps(*args: Any, **kwargs: Any) -> None:
    names.BY_HOOK = tl.float16 if kwargs["num_warps"] == 2 else tl.float32


@triton.autotune(warps(2, 4, 8, BLOCK=64), ["n"])
@triton.jit
def pre_run_hook(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n).to(names.BY_HOOK) + 1, mask=i < n)


def program_pre_run_hook(recorder: Any) -> None:
    x = floats(64)
    pre_run_hook.fn.add_pre_run_hook(_set_by_warps)
    recorder.launch(pre_run_hook, x, x, 64)
    recorder.launch(pre_run_hook, x, x, 60)


_calls: list[int] = []


def _early(named: dict[str, Any]) -> bool:
    _calls.append(1)
    return len(_calls) <= 3


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.heuristics({"EARLY": _early})
@triton.jit
def counted(x, out, n, EARLY: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if EARLY:
        value += 1
    tl.store(out + i, value, mask=i < n)


def program_counted(recorder: Any) -> None:
    """Who measures less often asks its heuristics less often; stock's cache is filled with all."""
    x = floats(64)
    recorder.launch(counted, x, x, 64)
    recorder.launch(counted, x, x, 60)
    for n in (64, 60):
        for early in (False, True):
            for count in (2, 4):
                options = {"EARLY": early, "BLOCK": 64, "num_warps": count}
                recorder.launch(counted.fn.fn, x, x, n, **options)


@triton.autotune(blocks(32, 64, num_warps=2), ["n"])
@triton.jit
def changed_lists(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + names.WIDTH, mask=i < n)


def program_changed_lists(recorder: Any) -> None:
    """A candidate is changed in place between two keys, and one that reads a new constant comes."""
    x = floats(64)
    recorder.launch(changed_lists, x, x, 64)
    changed_lists.configs[0].num_warps = 8
    names.WIDTH, before = tl.constexpr(7), names.WIDTH
    recorder.launch(changed_lists, x, x, 60)
    changed_lists.configs += blocks(32, num_warps=4)
    recorder.launch(changed_lists, x.half(), x, 64)
    names.WIDTH = before
