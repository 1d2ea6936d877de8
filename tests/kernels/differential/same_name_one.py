"""Kernels whose names and sources are another module's, too; what they read is not."""

from __future__ import annotations

import triton
import triton.language as tl
from lab import warps

ACC = tl.float32
WIDTH = tl.constexpr(1)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def same_name(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n).to(ACC), mask=i < n)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def same_name_digested(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + WIDTH, mask=i < n)
