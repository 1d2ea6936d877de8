"""Kernels that starts launch: a tuned one, plain ones, and ones that cannot be found again."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

FACTOR = tl.constexpr(3)
OFFSET = tl.constexpr(7)
DTYPE = tl.float32
MODE = 1


@triton.autotune([triton.Config({"BLOCK": b}, num_warps=1) for b in (32, 64, 128)], ["n"])
@triton.jit
def tuned(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


@triton.jit
def plain(x, n, SCALE: tl.constexpr):
    tl.store(x, n * SCALE)


@triton.jit
def second(x, n, SCALE: tl.constexpr):
    tl.store(x, n + SCALE)


@triton.jit
def sizes(x, n, m, SCALE: tl.constexpr):
    tl.store(x, n * SCALE + m)


@triton.jit
def reads_a_constant(x, n):
    tl.store(x, n * FACTOR)


@triton.jit
def reads_a_dtype(x, n):
    tl.store(x, n.to(DTYPE) * 3)


@triton.jit
def moved(n):
    return n + OFFSET


@triton.jit
def calls_one(x, n):
    tl.store(x, moved(n))


@triton.jit
def calls_it_too(x, n):
    tl.store(x, moved(n) * 2)


@triton.heuristics({"EVEN": lambda args: args["n"] % 2 == 0})
@triton.jit
def with_heuristics(x, n, EVEN: tl.constexpr):
    tl.store(x, n + EVEN)


def closure(factor: int) -> Any:
    held = tl.constexpr(factor)

    @triton.jit
    def inside(x, n):
        tl.store(x, n * held)

    return inside


def closure_of_another_source() -> Any:
    @triton.jit
    def inside(x, n):
        tl.store(x, n - 9)

    return inside


def one_of_two() -> Any:
    @triton.jit
    def plain(x, n, SCALE: tl.constexpr):
        tl.store(x, n - SCALE)

    plain.fn.__qualname__ = "plain"  # as after a reload: another is found under this name
    return plain


KERNELS = (
    tuned.fn,
    plain,
    second,
    sizes,
    reads_a_constant,
    reads_a_dtype,
    moved,
    calls_one,
    calls_it_too,
    with_heuristics.fn,
)
N = 256


def x(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(N, dtype=dtype)


def tune(n: int = N) -> Any:
    return tuned[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x(), x(), n)
