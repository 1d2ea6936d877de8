"""Scenarios of arguments: how they are passed, what the key is made of, how the grid is given."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from typing import Any

import numpy
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.kernels.equivalence_lab import Call, Lab

CALLS: dict[str, Any] = {}


def scenario(function: Any) -> Any:
    CALLS[function.__name__] = function
    return function


def blocks(*sizes: int) -> list[triton.Config]:
    return [triton.Config({"BLOCK": size}, num_warps=size // 4) for size in sizes]


def accumulate(x, out, mark, n, mode: tl.constexpr, BLOCK: tl.constexpr):
    """Adds to `out`, and to `mark` a number that depends on the order of all launches."""
    first = tl.program_id(0) * BLOCK
    i = first + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(out + i, mask=i < n) + tl.load(x + i, mask=i < n), mask=i < n)
    only_first = (tl.arange(0, 1) + first) == 0
    zero = mark + tl.arange(0, 1)
    tl.store(zero, tl.load(zero, mask=only_first) * 31 + BLOCK, mask=only_first)


def with_defaults(x, out, n, scale=2.0, bias=None, BLOCK: tl.constexpr = 8):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n) * scale
    if bias is not None:
        value += tl.load(bias + i, mask=i < n)
    tl.store(out + i, tl.load(out + i, mask=i < n) + value, mask=i < n)


class Mode(enum.Enum):
    FAST = 1
    EXACT = 2


def covering(n: int) -> Any:
    return lambda meta: (triton.cdiv(n, meta["BLOCK"]),)


@scenario
def repeated_and_new_keys(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    for n in (32, 32, 16, 32, 20, 16):
        yield lambda n=n: kernel[covering(32)](lab.x, lab.out, lab.mark, n, 0)


@scenario
def positional_and_keyword_arguments(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n", "mode"])
    x, out, mark = lab.x, lab.out, lab.mark
    yield lambda: kernel[(4,)](x, out, mark, 32, 0)
    yield lambda: kernel[(4,)](x, out, mark, 32, mode=0)
    yield lambda: kernel[(4,)](x, out, mark, n=32, mode=0)
    yield lambda: kernel[(4,)](x, out, mark=mark, n=32, mode=0)
    yield lambda: kernel[(4,)](x, out, mark, mode=1, n=32)
    yield lambda: kernel[(4,)](x, out, mark, mode=0, n=32)
    yield lambda: kernel.run(x, out, mark, 32, 0, grid=(4,), warmup=False)
    yield lambda: kernel.run(x, out, mark, 32, 1, warmup=False, grid=(4,))


@scenario
def keys_that_are_left_out(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(with_defaults), blocks(4, 8, 16), ["n", "scale"])
    yield lambda: kernel[covering(32)](lab.x, lab.out, 32)
    yield lambda: kernel[covering(32)](lab.x, lab.out, 32, 2.0)
    yield lambda: kernel[covering(32)](lab.x, lab.out, 32, scale=2.0)
    yield lambda: kernel[covering(32)](lab.x, lab.out, 32, 3.0)
    yield lambda: kernel[covering(32)](lab.x, lab.out, 32)


@scenario
def none_for_a_tensor(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(with_defaults), blocks(4, 8, 16), ["n", "bias"])
    yield lambda: kernel[covering(32)](lab.x, lab.out, 32, 1.0, None)
    yield lambda: kernel[covering(32)](lab.x, lab.out, 32, 1.0, bias=None)
    yield lambda: kernel[covering(32)](lab.x, lab.out, 32, 1.0)


@scenario
def an_optional_tensor_outside_of_the_key(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(with_defaults), blocks(4, 8, 16), ["n"])
    for bias in (None, lab.x, lab.y, None, lab.y):
        yield lambda bias=bias: kernel[covering(32)](lab.x, lab.out, 32, 1.0, bias)


@scenario
def dtypes_of_the_arguments(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(with_defaults), blocks(4, 8, 16), ["n"])
    for x in (lab.x, lab.y, lab.x.to(torch.float64), lab.x.to(torch.int32), lab.y):
        yield lambda x=x: kernel[covering(32)](x, lab.out, 32)


@scenario
def equal_numbers_of_different_types(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["mode"])
    for mode in (1, True, 1.0, 0, False, 0.0, -0.0, numpy.float64(1.0)):
        yield lambda mode=mode: kernel[(4,)](lab.x, lab.out, lab.mark, 32, mode)


@scenario
def key_values_of_many_types(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n", "mode"])
    modes = [
        Mode.FAST,
        Mode.EXACT,
        "ieee",
        "tf32",
        (1, (2, "x")),
        (1, (True, "x")),
        torch.float16,
        torch.bfloat16,
        tl.float16,
        numpy.int64(3),
        frozenset({1, 2}),
        b"bytes",
        2**70,
        math.inf,
        Mode.FAST,
        (1, (2, "x")),
        torch.float16,
    ]
    for mode in modes:
        yield lambda mode=mode: kernel[(4,)](lab.x, lab.out, lab.mark, 32, mode)


@scenario
def one_object_that_is_no_number(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["mode"])
    for _ in range(3):
        yield lambda: kernel[(4,)](lab.x, lab.out, lab.mark, 32, math.nan)


@scenario
def a_key_of_dtypes_only(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), [])
    for n in (32, 16, 8):
        yield lambda n=n: kernel[(4,)](lab.x, lab.out, lab.mark, n, 0)


@scenario
def a_key_of_nothing(lab: Lab) -> Iterator[Call]:
    def nothing(n, BLOCK: tl.constexpr):
        tl.arange(0, BLOCK)

    kernel = lab.autotune(lab.interpreted(nothing), blocks(4, 8, 16), [])
    for n in (32, 16):
        yield lambda n=n: kernel[(4,)](n)


@scenario
def a_key_that_names_one_argument_twice(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n", "mode", "n"])
    for n in (32, 16, 32):
        yield lambda n=n: kernel[(4,)](lab.x, lab.out, lab.mark, n, 0)


@scenario
def a_key_as_a_tuple(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), tuple(blocks(4, 8, 16)), ("mode", "n"))
    for n in (32, 16, 32):
        yield lambda n=n: kernel[(4,)](lab.x, lab.out, lab.mark, n, 0)


@scenario
def grids_of_all_kinds(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    arguments = (lab.x, lab.out, lab.mark)
    yield lambda: kernel[(2,)](*arguments, 32, 0)
    yield lambda: kernel[(2, 1)](*arguments, 32, 0)
    yield lambda: kernel[(2, 1, 1)](*arguments, 31, 0)
    yield lambda: kernel[lambda meta: (32 // meta["BLOCK"], 1)](*arguments, 30, 0)
    yield lambda: kernel[(1, 2, 1)](*arguments, 27, 0)


@scenario
def another_grid_for_a_known_key(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["mode"])
    for programs in (1, 4, 64, 1):
        yield lambda p=programs: kernel[(p,)](lab.x, lab.out, lab.mark, 32, 0)


@scenario
def a_tensor_seen_as_another_type(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(with_defaults), blocks(4, 8, 16), ["n"])
    as_int = triton.reinterpret(lab.x, tl.int32)
    again = triton.reinterpret(lab.x, tl.int32)
    for x in (as_int, again, lab.x, triton.reinterpret(lab.x, tl.float32), as_int):
        yield lambda x=x: kernel[covering(32)](x, lab.out, 32)


@scenario
def descriptors_whose_block_a_candidate_sets(lab: Lab) -> Iterator[Call]:
    def copy(source, target, n, BLOCK: tl.constexpr):
        first = tl.program_id(0) * BLOCK
        target.store([first], source.load([first]) + target.load([first]))

    def set_block(arguments: dict[str, Any]) -> None:
        for name in ("source", "target"):
            arguments[name].block_shape = [arguments["BLOCK"]]

    configs = [triton.Config({"BLOCK": size}, pre_hook=set_block) for size in (4, 8, 16)]
    kernel = lab.autotune(lab.interpreted(copy), configs, ["n"])
    source = TensorDescriptor.from_tensor(lab.x, [4])
    target = TensorDescriptor.from_tensor(lab.out, [4])
    for n in (32, 16, 32):
        yield lambda n=n: kernel[covering(n)](source, target, n)


@scenario
def options_beside_the_arguments(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    for options in ({"maxnreg_hint": 1}, {}, {"maxnreg_hint": 1}, {"enable_fp_fusion": False}):
        yield lambda options=options: kernel[(4,)](lab.x, lab.out, lab.mark, 32, 0, **options)
