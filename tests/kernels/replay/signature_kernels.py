"""Kernels that do nothing, over every kind of argument, and calls of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor


@triton.jit
def plain(a, b):
    pass


@triton.jit
def constant(a, B: tl.constexpr):
    pass


@triton.jit
def constants(A: tl.constexpr, B: tl.constexpr, c):
    pass


@triton.jit
def pointer_to_const(a: tl.const, b):
    pass


@triton.jit
def wide(a: tl.int64, b: tl.uint8):
    pass


@triton.jit
def wide_float(a: tl.float64, b: tl.float16):
    pass


@triton.jit(do_not_specialize=["a"])
def not_specialized(a, b):
    pass


@triton.jit(do_not_specialize_on_alignment=["a"])
def not_aligned(a, b):
    pass


@triton.jit(noinline=True)
def helper(x):
    return x


@triton.jit
def defaults(a, b=3, C: tl.constexpr = 5, d=None):
    pass


@triton.jit
def many(a, b, c, D: tl.constexpr, e, F: tl.constexpr):
    pass


@triton.jit
def copies_line(source, target, n):
    target.store([n], source.load([0]))


@triton.jit
def copies(source, target, n):
    target.store([0, n], source.load([n, 0]))


@triton.jit
def copies_if_there(x, source, n):
    if source is not None:
        tl.store(x + tl.arange(0, 64), source.load([n]))


X = torch.zeros(64)
INTEGERS = (
    0, 1, 2, 16, -16, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, -(1 << 40), 1 << 63, (1 << 64) - 1,
)  # fmt: skip
TYPES = (
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8",
    "uint16", "uint32", "uint64", "bool", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
CONSTANTS: list[Any] = [
    0, 1, -1, 16, 1 << 40, True, False, None, 0.0, -0.0, 0.1, math.inf, -math.inf, "", "add", "é",
    tl.float16, tl.int1, tl.bfloat16, (), (1, 2), (1, (2.5, "x", None)), tl.constexpr(3),
    tl.constexpr(tl.float32),
]  # fmt: skip

BLOCKS: tuple[tuple[int, ...], ...] = (
    (16,), (256,), (16, 16), (1, 64), (64, 32), (4, 4, 16), (1, 1, 2, 32), (1, 2, 1, 2, 16),
)  # fmt: skip

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


def described(block: Sequence[int], dtype: torch.dtype = torch.float16) -> Any:
    """A descriptor of a tensor that is larger than the block, by another factor in each place."""
    shape = [size * (i + 1) for i, size in enumerate(block)]
    return TensorDescriptor.from_tensor(torch.zeros(shape, dtype=dtype), list(block))


def calls() -> dict[str, Call]:
    """By what they are about: a kernel, its arguments and options."""
    found: dict[str, Call] = {}

    def add(what: str, kernel: Any, *args: Any, **options: Any) -> None:
        assert what not in found
        found[what] = (kernel, args, options)

    for name in TYPES:
        add(f"pointer to {name}", plain, torch.zeros(64, dtype=getattr(torch, name)), X)
    add("pointer that is not aligned", plain, X[1:], X)
    add("two that are not aligned", plain, X[1:], X[2:])
    add("pointer to nothing", plain, torch.zeros(0), X)
    add("pointer to constants", pointer_to_const, X, X)
    add("pointer to constants that is not aligned", pointer_to_const, X[1:], 16)
    for number in INTEGERS:
        add(f"integer {number}", plain, number, X)
        add(f"integer {number}, not specialized", not_specialized, number, 16)
        add(f"integer {number}, alignment not looked at", not_aligned, number, 16)
    add("pointer, not specialized", not_specialized, X, 1)
    add("pointer, alignment not looked at", not_aligned, X[1:], 1)
    for value in (None, True, False, 0.0, 1.0, -2.5, math.inf):
        add(f"value {value}", plain, value, X)
    for value in (1, 16, 0, 3):
        add(f"annotated {value}", wide, value, 16)
    add("annotated floats", wide_float, 1.0, 2.5)
    for number, value in enumerate(CONSTANTS):
        add(f"constant {number}: {value!r:.20}", constant, X, value)
    add("constant of a kernel", constant, X, helper)
    add("constants of several kinds", constants, "add", (2, 0.5), 3)
    add("tuple", plain, (X, 1, 16, 2.5, None), 3)
    add("tuple in a tuple", plain, ((X[1:], 3), (1, (16, True))), X)
    add("empty tuple", plain, (), X)
    add("defaults", defaults, X)
    add("defaults, in part", defaults, X, 16)
    add("many", many, X, 7, (16, X[1:]), "mode", 1, tl.float16)
    for name in TYPES:
        if name != "bool":  # Triton compiles none, and 3.4 ends the process
            add(f"descriptor of {name}", plain, described((16, 64), getattr(torch, name)), 3)
    for block in BLOCKS:
        add(f"descriptor of blocks {block}", plain, described(block), X)
    add("descriptor of a block in a tuple", plain, TensorDescriptor(X, [64], [1], (32,)), X)
    add("descriptor of every second row", plain, TensorDescriptor(X, [2, 8], [32, 1], [2, 8]), 3)
    for n in (1, 3, 16):
        add(f"descriptors of lines that are used at {n}", copies_line, *[described((64,))] * 2, n)
        add(f"descriptors that are used at {n}", copies, *[described((16, 64))] * 2, n)
    add("descriptor that is there", copies_if_there, X, described((64,)), 3)
    add("descriptor that is not there", copies_if_there, X, None, 3)
    add("descriptor in a tuple", plain, (described((64,)), 3, X), 3)
    add("descriptor in a tuple in a tuple", plain, (1, (described((8, 16)), X[1:])), 16)
    for name, value in {
        "num_warps": 8, "num_stages": 2, "maxnreg": 64, "num_ctas": 1, "debug": True,
        "enable_fp_fusion": False, "launch_cooperative_grid": True,
        "default_dot_input_precision": "ieee", "arch": None,
    }.items():  # fmt: skip
        add(f"option {name}", plain, X, 2, **{name: value})
    add("two options", plain, X, 2, num_stages=3, num_warps=2)
    return found
