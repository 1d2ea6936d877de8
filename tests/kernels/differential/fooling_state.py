"""Programs whose kernels read what the program changes between two keys.

Much of that stock Triton covers in no digest, so what it launches depends on the order of things.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

import names
import triton
import triton.language as tl
from lab import floats, warps

ACC = tl.float32
SHIFT = tl.constexpr(1)
TWICE = tl.constexpr(1)
has_constexpr_function = hasattr(triton, "constexpr_function")


@contextlib.contextmanager
def changed(owner: Any, **values: Any) -> Iterator[None]:
    """Attributes of an object, changed for a while."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextlib.contextmanager
def rebound(**values: Any) -> Iterator[None]:
    """The same for names of this module."""
    before = {name: globals()[name] for name in values}
    globals().update(values)
    try:
        yield
    finally:
        globals().update(before)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def asks_module(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if hasattr(names, "FAST"):
        value += 1
    tl.store(out + i, value, mask=i < n)


def program_asks_module(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(asks_module, x, x, 64)
    names.FAST = True
    try:
        recorder.launch(asks_module, x, x, 60)
    finally:
        del names.FAST


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def module_attribute(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n).to(names.ACC) + names.WIDTH
    tl.store(out + i, value, mask=i < n)


def program_module_attribute(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(module_attribute, x, x, 64)
    with changed(names, ACC=tl.float16, WIDTH=tl.constexpr(3)):
        recorder.launch(module_attribute, x, x, 60)
        recorder.launch(module_attribute, x, x, 32)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def rebound_type(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n).to(ACC) + 1, mask=i < n)


def program_rebound_type(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(rebound_type, x, x, 64)
    with rebound(ACC=tl.float16):
        recorder.launch(rebound_type, x, x, 60)


@triton.jit
def two_lists(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n).to(names.ACC) + 1, mask=i < n)


def program_two_lists(recorder: Any) -> None:
    """The second list has candidates of the same text, as far as Triton's digest knows."""
    x = floats(64)
    recorder.launch(triton.autotune(warps(1, 2, BLOCK=64), ["n"])(two_lists), x, x, 64)
    with changed(names, ACC=tl.float16):
        recorder.launch(triton.autotune(warps(4, 8, BLOCK=64), ["n"])(two_lists), x, x, 64)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def rebound_constant(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + SHIFT, mask=i < n)


def program_rebound_constant(recorder: Any) -> None:
    """Which stock refuses, or compiles, by version."""
    x = floats(64)
    recorder.launch(rebound_constant, x, x, 64)
    with rebound(SHIFT=tl.constexpr(3)):
        recorder.launch(rebound_constant, x, x, 60)
        recorder.launch(rebound_constant, x, x, 64)


@triton.jit
def _called(value):
    return value.to(ACC) * TWICE


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def rebound_in_callee(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, _called(tl.load(x + i, mask=i < n)), mask=i < n)


def program_rebound_in_callee(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(rebound_in_callee, x, x, 64)
    with rebound(ACC=tl.float16, TWICE=tl.constexpr(2)):
        recorder.launch(rebound_in_callee, x, x, 60)


@triton.jit
def _first_callee(value):
    return value + 1


@triton.jit
def _second_callee(value):
    return value * 5


callee = _first_callee


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def replaced_callee(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = callee(tl.load(x + i, mask=i < n))
    tl.store(out + i, names.activation(value), mask=i < n)


def program_replaced_callee(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(replaced_callee, x, x, 64)
    with rebound(callee=_second_callee), changed(names, activation=_second_callee):
        recorder.launch(replaced_callee, x, x, 60)


def _make_closure() -> tuple[Any, Any]:
    kind = tl.float32

    @triton.autotune(warps(2, 4, BLOCK=64), ["n"])
    @triton.jit
    def rebound_cell(x, out, n, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n).to(kind) + 1, mask=i < n)

    def rebind(other: Any) -> None:
        nonlocal kind
        kind = other

    return rebound_cell, rebind


def program_rebound_cell(recorder: Any) -> None:
    x = floats(64)
    kernel, rebind = _make_closure()
    recorder.launch(kernel, x, x, 64)
    rebind(tl.float16)
    recorder.launch(kernel, x, x, 60)


if has_constexpr_function:

    @triton.constexpr_function
    def _from_environment():
        return names.setting.value

    @triton.constexpr_function
    def _from_counter():
        return names.calls

    @triton.autotune(warps(2, 4, BLOCK=64), ["n"])
    @triton.jit
    def runs_python(x, out, n, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        value = tl.load(x + i, mask=i < n) + _from_environment() + _from_counter()
        tl.store(out + i, value, mask=i < n)

    def program_runs_python(recorder: Any) -> None:
        x = floats(64)
        recorder.launch(runs_python, x, x, 64)
        os.environ["OF_THE_PROGRAM"] = "3"
        names.calls += 1
        recorder.launch(runs_python, x, x, 60)
        del os.environ["OF_THE_PROGRAM"]
        names.calls += 1
        recorder.launch(runs_python, x, x, 32)


def _set_by_hook(kind: Any) -> Any:
    def hook(named: dict[str, Any]) -> None:
        names.BY_HOOK = kind

    return hook


@triton.autotune(
    [
        triton.Config({"BLOCK": 64}, num_warps=2, pre_hook=_set_by_hook(tl.float16)),
        triton.Config({"BLOCK": 64}, num_warps=4, pre_hook=_set_by_hook(tl.float32)),
        triton.Config({"BLOCK": 64}, num_warps=8, pre_hook=_set_by_hook(tl.bfloat16)),
    ],
    ["n"],
)
@triton.jit
def set_by_hook(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n).to(names.BY_HOOK) + 1
    tl.store(out + i, value, mask=i < n)


def program_set_by_hook(recorder: Any) -> None:
    """Candidates share everything but their warps and what their hooks set before a launch."""
    x = floats(64)
    recorder.launch(set_by_hook, x, x, 64)
    recorder.launch(set_by_hook, x, x, 60)


@triton.autotune(warps(2, 4, BLOCK=64), ["n", "SMALL"])
@triton.jit
def static_prints(x, out, n, SMALL: tl.constexpr, BLOCK: tl.constexpr):
    tl.static_assert(SMALL or BLOCK > 64, "too small")
    tl.static_print("block", BLOCK, SMALL)
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)


def program_static_prints(recorder: Any) -> None:
    """What code generation prints is seen, and what it refuses is refused."""
    x, printed = floats(64), io.StringIO()
    with contextlib.redirect_stdout(printed):
        recorder.launch(static_prints, x, x, 64, True)
        recorder.launch(static_prints, x, x, 60, True)
        recorder.launch(static_prints, x, x, 64, False)
    recorder.note(*sorted(set(printed.getvalue().splitlines())))


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def replaced_source(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)


def program_replaced_source(recorder: Any) -> None:
    x, jit = floats(64), replaced_source.fn
    recorder.launch(replaced_source, x, x, 64)
    jit._unsafe_update_src(jit.src.replace("+ 1,", "+ 2,"))
    recorder.launch(replaced_source, x, x, 60)


def program_replaced_language(recorder: Any) -> None:
    """A function of Triton's language is replaced by one of the program's."""
    x, clamp = floats(64), tl.exp2

    @tl.core.builtin
    def exp2(value: Any, _semantic: Any = None) -> Any:
        return value

    recorder.launch(replaced_language, x, x, 64)
    with changed(tl, exp2=exp2):
        recorder.launch(replaced_language, x, x, 60)
    assert tl.exp2 is clamp


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def replaced_language(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.exp2(tl.load(x + i, mask=i < n)), mask=i < n)
