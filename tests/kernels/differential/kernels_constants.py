"""Kernels by what they are given at compile time. Each is called for two keys at least."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from lab import blocks, floats, warps

SCALE = tl.constexpr(0.5)
TABLE = tl.constexpr((1, 2, 4))
WIDE = tl.constexpr(True)


@triton.jit
def _double(value):
    return value + value


@triton.jit
def _square(value):
    return value * value


@triton.autotune(warps(2, 4, BLOCK=64), ["NONE", "FLAG", "COUNT", "FACTOR", "NAME"])
@triton.jit
def constants(
    x,
    out,
    NONE: tl.constexpr,
    FLAG: tl.constexpr,
    COUNT: tl.constexpr,
    FACTOR: tl.constexpr,
    NAME: tl.constexpr,
    TYPE: tl.constexpr,
    PAIR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i).to(TYPE)
    if NONE is None:
        value += 1
    else:
        value += NONE
    if FLAG:
        value *= FACTOR
    if NAME == "gelu":
        value *= tl.sigmoid(1.702 * value.to(tl.float32)).to(TYPE)
    for step in tl.static_range(COUNT):
        value += PAIR[0] * step + PAIR[1]
    tl.store(out + i, value)


@triton.autotune(warps(2, 4, BLOCK=64), [])
@triton.jit
def with_activation(x, out, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if ACTIVATION is not None:
        value = ACTIVATION(value)
    tl.store(out + i, value)


class Layout(NamedTuple):
    pointer: Any
    size: int
    stride: int


@triton.jit
def _load_from(layout, i):
    return tl.load(layout.pointer + i * layout.stride, mask=i < layout.size, other=0.0)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def named_tuples(source, target, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = _load_from(source, i)
    tl.store(target.pointer + i * target.stride, value, mask=i < target.size)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def tuples(inputs, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(len(inputs)):
        total += tl.load(inputs[k] + i, mask=i < n, other=0.0)
    tl.store(out + i, total, mask=i < n)


@triton.heuristics({"HAS_BIAS": lambda args: args["bias"] is not None})
@triton.autotune(blocks(64, 128, num_warps=2), ["n"])
@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
@triton.jit
def heuristics(x, bias, out, n, HAS_BIAS: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i) if EVEN else tl.load(x + i, mask=i < n)
    if HAS_BIAS:
        value += tl.load(bias + i, mask=i < n)
    tl.store(out + i, value, mask=i < n)


def _closed_over(power: int, activation: Any) -> Any:
    factor = tl.constexpr(power)

    @triton.autotune(warps(2, 4, BLOCK=64), ["n"])
    @triton.jit
    def closure(x, out, n, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        tl.store(out + i, activation(tl.load(x + i, mask=i < n)) * factor, mask=i < n)

    return closure


CLOSURES = [_closed_over(3, _double), _closed_over(5, _square)]


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def global_constants(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n) * SCALE
    for k in tl.static_range(3):
        value += TABLE[k]
    if WIDE:
        value += n
    tl.store(out + i, value, mask=i < n)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def type_arguments(x, out, n, acc: tl.constexpr = tl.float32, BLOCK: tl.constexpr = 64):
    i = tl.arange(0, BLOCK)
    total = tl.sum(tl.load(x + i, mask=i < n, other=0.0).to(acc), 0)
    if acc == tl.float64:
        total += tl.cast(1.5, tl.float64)
    tl.store(out, tl.cast(total, out.dtype.element_ty))


@triton.autotune(warps(2, 4, BLOCK=64), ["x"])
@triton.jit
def scalars(x, flag, long, out, BLOCK: tl.constexpr):
    """Of int32, int64, bool, float, or 1, which becomes a constant."""
    i = tl.arange(0, BLOCK)
    value = i * x + long
    if flag:
        value += 1
    tl.store(out + i, value)


if hasattr(triton, "constexpr_function"):

    @triton.constexpr_function
    def _log2(value):
        return value.bit_length() - 1

    @triton.autotune(blocks(64, 128, num_warps=2), ["n"])
    @triton.jit
    def constexpr_functions(x, out, n, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        steps: tl.constexpr = _log2(BLOCK)
        value = tl.load(x + i, mask=i < n)
        for k in tl.static_range(steps):
            value += k
        if _log2(BLOCK) > 6:
            value = -value
        tl.store(out + i, value, mask=i < n)


if hasattr(tl, "target_info"):

    @triton.autotune(warps(2, 4, BLOCK=64), ["NEW"])
    @triton.jit
    def targets(x, out, NEW: tl.constexpr, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        value = tl.load(x + i)
        if NEW:  # noqa: SIM102  the code is generated if that is so
            if tl.target_info.cuda_capability_geq(9, 0):
                value += 1
        tl.store(out + i, value)


def program_constants(recorder: Any) -> None:
    launch = recorder.launch
    x, out = floats(8192), floats(8192)
    half = x.half()
    launch(constants, x, out, None, True, 2, 0.5, "gelu", tl.float32, (1, 2))
    launch(constants, x, out, 3, False, 3, 2, "none", tl.float16, (1.5, -2))
    launch(with_activation, x, out, None)
    launch(with_activation, half, out, _double)
    launch(with_activation, x.bfloat16(), out, _square)
    launch(named_tuples, Layout(x, 64, 1), Layout(out, 64, 2), 64)
    launch(named_tuples, Layout(half, 60, 2), Layout(half, 60, 1), 60)
    launch(tuples, (x, half), out, 64)
    launch(tuples, (x, half, x.bfloat16()), out, 60)
    launch(heuristics, x, None, out, 1024)
    launch(heuristics, half, x, out, 1000)
    for closure in CLOSURES:
        launch(closure, x, out, 64)
        launch(closure, half, out, 60)
    launch(global_constants, x, out, 64)
    launch(global_constants, half, out, 60)
    launch(type_arguments, x, out, 64)
    launch(type_arguments, half, out, 60, acc=tl.float64)
    launch(scalars, 1, True, 1 << 40, out)
    launch(scalars, 2.5, False, 16, out)
    launch(scalars, 7, True, 1, out.to(torch.int64))
    if hasattr(triton, "constexpr_function"):
        launch(constexpr_functions, x, out, 64)
        launch(constexpr_functions, half, out, 60)
    if hasattr(tl, "target_info"):
        launch(targets, x, out, False)
        launch(targets, half, out, True)
