"""Programs that fool who compares types and constants: by identity, by text, by value.

Each is one that a program may be, and launches its kernel for a first key, then for another.
"""

from __future__ import annotations

import enum
from typing import Any

import names
import torch
import triton
import triton.language as tl
from lab import floats, warps

FLOAT = tl.float32
NARROW = tl.constexpr((tl.float16, tl.bfloat16))
TYPES = {"half": tl.float16, "single": tl.float32}


@triton.autotune(warps(2, 4, BLOCK=64), ["DTYPE"])
@triton.jit
def accumulator(x, out, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    acc: tl.constexpr = tl.float32 if DTYPE is tl.bfloat16 else DTYPE
    tl.store(out, tl.sum(tl.load(x + i).to(acc), 0).to(DTYPE))


def program_accumulator(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(accumulator, x, x, tl.float32)
    recorder.launch(accumulator, x.bfloat16(), x.bfloat16(), tl.bfloat16)


@triton.autotune(warps(2, 4, BLOCK=64), ["DTYPE"])
@triton.jit
def global_alias(x, out, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if DTYPE is FLOAT:
        value += 1
    tl.store(out + i, value.to(DTYPE))


def program_global_alias(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(global_alias, x, x, tl.float16)
    recorder.launch(global_alias, x, x, tl.float32)


@triton.autotune(warps(2, 4, BLOCK=64), ["DTYPE"])
@triton.jit
def alias_in_tuple(x, out, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if DTYPE is NARROW[0] or DTYPE is NARROW[1]:
        value += 1
    tl.store(out + i, value)


def program_alias_in_tuple(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(alias_in_tuple, x, x, tl.float32)
    recorder.launch(alias_in_tuple, x, x, tl.bfloat16)


@triton.autotune(warps(2, 4, BLOCK=64), ["DTYPE"])
@triton.jit
def made_tensor(x, out, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if tl.zeros([1], DTYPE).dtype is tl.bfloat16:
        value += 1
    tl.store(out + i, value)


def program_made_tensor(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(made_tensor, x, x, tl.float32)
    recorder.launch(made_tensor, x, x, tl.bfloat16)


@triton.autotune(warps(2, 4, BLOCK=64), [])
@triton.jit
def element_type(x, out, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if x.dtype.element_ty is tl.bfloat16:
        value += 1
    if value.dtype is tl.float32:
        value += 2
    tl.store(out + i, value)


def program_element_type(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(element_type, x, x)
    recorder.launch(element_type, x.bfloat16(), x)


@triton.autotune(warps(2, 4, BLOCK=64), ["DTYPE"])
@triton.jit
def alias_in_module(x, out, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if DTYPE is names.ACC:
        value += 1
    tl.store(out + i, value)


def program_alias_in_module(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(alias_in_module, x, x, tl.bfloat16)
    recorder.launch(alias_in_module, x, x, tl.float32)


@triton.autotune(warps(2, 4, BLOCK=64), ["TYPES"])
@triton.jit
def types_in_tuple(x, out, TYPES: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if TYPES[0] is TYPES[1]:
        value += 1
    tl.store(out + i, value)


def program_types_in_tuple(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(types_in_tuple, x, x, (tl.float32, tl.float16))
    recorder.launch(types_in_tuple, x, x, (tl.float32, tl.float32))


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def own_type(x, out, n, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if DTYPE is tl.float32:
        value += 1
    tl.store(out + i, value.to(DTYPE), mask=i < n)


def program_own_type(recorder: Any) -> None:
    """Types that the program has made are equal to Triton's, and not these."""
    x = floats(64)
    recorder.launch(own_type, x, x, 64, tl.dtype("fp32"))
    recorder.launch(own_type, x, x, 60, tl.float32)
    recorder.launch(own_type, x.half(), x, 64, tl.dtype("fp32"))


@triton.autotune(warps(2, 4, BLOCK=64), ["MODE"])
@triton.jit
def alike_as_text(x, out, MODE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if MODE == 1:
        value += 1
    elif MODE == "True":
        value += 2
    elif MODE is None:
        value += 3
    tl.store(out + i, value)


def program_alike_as_text(recorder: Any) -> None:
    """Triton digests constants as text, so stock has one binary for two."""
    x = floats(64)
    for mode in (1, "1", "True", True, 1.0, "1.0", "None", None):
        recorder.launch(alike_as_text, x, x, mode)


def _mode(mode: Any, warps: int) -> triton.Config:
    return triton.Config({"MODE": mode, "BLOCK": 64}, num_warps=warps)


@triton.autotune([_mode(1, 1), _mode("1", 2), _mode(True, 4), _mode("True", 8)], ["n"])
@triton.jit
def candidates_alike_as_text(x, out, n, MODE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if MODE == 1:
        value += 1
    tl.store(out + i, value, mask=i < n)


def program_candidates_alike_as_text(recorder: Any) -> None:
    """What differs in warps as well has a binary of its own with stock."""
    x = floats(64)
    recorder.launch(candidates_alike_as_text, x, x, 64)
    recorder.launch(candidates_alike_as_text, x, x, 60)


@triton.autotune([_mode(0.0, 1), _mode(-0.0, 2), _mode(0, 4), _mode(False, 8)], ["n"])
@triton.jit
def equal_values(x, out, n, MODE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, MODE * tl.load(x + i, mask=i < n) + MODE, mask=i < n)


def program_equal_values(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(equal_values, x, x, 64)
    recorder.launch(equal_values, x.int(), x.int(), 60)


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


MODE_FAST = tl.constexpr(Mode.FAST)


@triton.autotune(warps(2, 4, BLOCK=64), ["MODE", "LEVEL"])
@triton.jit
def enums(x, out, MODE: tl.constexpr, LEVEL: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if MODE is MODE_FAST:
        value += 1
    if LEVEL == 2:
        value += 2
    tl.store(out + i, value)


def program_enums(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(enums, x, x, Mode.SLOW, Level.LOW)
    recorder.launch(enums, x, x, Mode.FAST, Level.LOW)
    recorder.launch(enums, x, x, Mode.FAST, Level.HIGH)


class Name(str):
    """Compares as nobody expects of a text."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str(self).lower() == str(other).lower()

    def __ne__(self, other: object) -> bool:
        return not self == other


class Number(int):
    def __eq__(self, other: object) -> bool:
        return other == "a number" or int(self) == other

    __hash__ = int.__hash__


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def subclasses(x, out, n, NAME: tl.constexpr, NUMBER: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if NAME == "fast":
        value += 1
    if NUMBER == "a number":
        value += NUMBER
    tl.store(out + i, value, mask=i < n)


def program_subclasses(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(subclasses, x, x, 64, "FAST", 2)
    recorder.launch(subclasses, x, x, 60, Name("FAST"), Number(2))
    recorder.launch(subclasses, x.half(), x, 64, Name("FAST"), Number(2))


class Marked:
    def __init__(self, shift: int) -> None:
        self.shift = shift

    def __repr__(self) -> str:
        return "Marked()"


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def objects(x, out, n, MARK: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + MARK.shift, mask=i < n)


def program_objects(recorder: Any) -> None:
    """Another object with the same text, then the same object with another attribute."""
    x, mark = floats(64), Marked(1)
    recorder.launch(objects, x, x, 64, mark)
    recorder.launch(objects, x, x, 60, Marked(2))
    mark.shift = 3
    recorder.launch(objects, x.to(torch.float64), x, 64, mark)


if hasattr(tl, "target_info"):

    @triton.autotune(warps(2, 4, BLOCK=64), ["ASK"])
    @triton.jit
    def asks_target(x, out, ASK: tl.constexpr, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        value = tl.load(x + i)
        if ASK:
            if tl.target_info.cuda_capability_geq(9, 0):
                value += 1
            if tl.target_info.is_cuda():
                value += 2
        tl.store(out + i, value)

    def program_asks_target(recorder: Any) -> None:
        """Only the second key takes the branch."""
        x = floats(64)
        recorder.launch(asks_target, x, x, False)
        recorder.launch(asks_target, x, x, True)
