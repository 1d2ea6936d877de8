"""A module of a program: what its kernels read of it changes while the program runs."""

from __future__ import annotations

import os

import triton
import triton.language as tl

ACC = tl.float32
WIDTH = tl.constexpr(1)
BY_HOOK = tl.float32
calls = 0


@triton.jit
def activation(value):
    return value + 1


class Setting:
    @property
    def value(self) -> int:
        return int(os.environ.get("OF_THE_PROGRAM", "1"))


setting = Setting()


@triton.jit
def by_warps(value):
    """What it adds depends on what the kernel is compiled for."""
    return value + tl.extra.cuda.num_warps()
