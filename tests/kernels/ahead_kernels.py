"""Two kernels for `ahead_child.py`, which imports them before or after there is a device."""

from __future__ import annotations

import triton
import triton.language as tl

SHIFT = tl.constexpr(1)
CONFIGS = [triton.Config({"BLOCK": block}, num_warps=w) for block in (32, 64, 128) for w in (1, 2)]


@triton.jit
def shifted(value):
    return value + SHIFT


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.jit
def first(x, out, n, scale: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, shifted(tl.load(x + i, mask=i < n)) * scale, mask=i < n)


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
@triton.jit
def second(x, out, bias, n, kind: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i) if EVEN else tl.load(x + i, mask=i < n)
    value *= SHIFT
    if bias is not None:
        value += tl.load(bias + i, mask=i < n)
    tl.store(out + i, tl.exp(value.to(kind)).to(tl.float32), mask=i < n)
