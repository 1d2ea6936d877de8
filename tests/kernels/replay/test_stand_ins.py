"""Variants that a kernel made for real arguments, and those that it makes for stand-ins."""

from __future__ import annotations

from collections import Counter, namedtuple
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl

from tests.kernels.replay import signature_kernels
from tests.kernels.replay.signature_kernels import X, calls, constant, plain
from tuneonce.model.profiles import UsedVariant
from tuneonce.replay.live_kernels import LiveKernel
from tuneonce.replay.recorder import NotRecorded, described
from tuneonce.replay.stand_ins import NoStandIn, Pointer, annotated, arguments
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.seams import compiled, kernels


def launched(kernel: Any, *args: Any, **options: Any) -> tuple[str, Any]:
    """The one variant that a launch makes: its key and itself."""
    kernel.device_caches.clear()
    kernel[(1,)](*args, **options)
    (found,) = compiled.in_memory(kernel)
    return found


def recorded(kernel: Any, *args: Any, **options: Any) -> UsedVariant:
    return described(kernel, *launched(kernel, *args, **options))


def made_ready(kernel: Any, entry: UsedVariant) -> tuple[str, Any]:
    kernel.device_caches.clear()
    loaded = LiveKernel(kernel, list(kernel.arg_names), annotated(kernel), set(), None)
    values, options = loaded.call(entry)
    assert not [one for one in values if isinstance(one, torch.Tensor)]
    kernels.warm_up(kernel, values, options)
    (found,) = compiled.in_memory(kernel)
    return found


@pytest.mark.slow  # a hundred compilations
def test_key_and_binary_are_those_of_the_launch(gpu: SimulatedGPU) -> None:
    wrong = {}
    for what, (kernel, args, options) in calls().items():
        key, one = launched(kernel, *args, **options)
        same_key, same = made_ready(kernel, described(kernel, key, one))
        if (key, one.hash, one.asm["cubin"]) != (same_key, same.hash, same.asm["cubin"]):
            wrong[what] = (key, same_key)
    assert wrong == {}


FEW = (
    "pointer that is not aligned", "integer 1", "integer 2147483648", "annotated 1",
    "constant of a kernel", "tuple in a tuple", "option debug", "two options",
    "descriptors that are used at 3", "descriptor in a tuple in a tuple",
)  # fmt: skip


@pytest.mark.parametrize("what", FEW)
def test_one_of_each_kind(gpu: SimulatedGPU, what: str) -> None:
    kernel, args, options = next(call for name, call in calls().items() if name.startswith(what))
    key, one = launched(kernel, *args, **options)
    same_key, same = made_ready(kernel, described(kernel, key, one))
    assert (same_key, same.hash) == (key, one.hash)


def test_a_launch_takes_the_variant_that_was_made_ready(gpu: SimulatedGPU) -> None:
    entry = recorded(plain, X, 16)
    one = made_ready(plain, entry)[1]
    assert plain[(1,)](X, 32) is one
    assert len(compiled.in_memory(plain)) == 1
    assert plain[(1,)](X[1:], 32) is not one


# -- what cannot be written down -------------------------------------------------------------------

Pair = namedtuple("Pair", "left right")


class Word(str):
    pass


@pytest.mark.parametrize(
    ("kernel", "value", "reason"),
    [
        (plain, Pair(X, 3), "not_encodable"),
        (constant, Pair(1, 2), "not_encodable"),
        (constant, Word("add"), "not_encodable"),
        (constant, 1 << 70, "not_encodable"),
        (constant, "x" * 1000, "not_encodable"),
        (constant, 2.5 + 1j, "not_encodable"),
        (constant, frozenset({1}), "not_encodable"),
    ],
)
def test_it_is_left_out_with_a_reason(
    gpu: SimulatedGPU, kernel: Any, value: Any, reason: str
) -> None:
    args = (value, X) if kernel is plain else (X, value)
    key, one = launched(kernel, *args)
    with pytest.raises(NotRecorded, match=reason):
        described(kernel, key, one)


def test_libraries_and_options_for_tools_are_left_out(gpu: SimulatedGPU) -> None:
    library = Path(triton.__file__).parent / "backends/nvidia/lib/libdevice.10.bc"
    key, one = launched(plain, X, 1, extern_libs=(("libdevice", str(library)),))
    with pytest.raises(NotRecorded, match="options"):
        described(plain, key, one)
    with pytest.raises(NotRecorded, match="not_encodable"):
        described(plain, *launched(plain, X, 1, ptx_options="--verbose"))


@triton.jit
def other_names(a, c):
    pass


@triton.jit
def fewer(a):
    pass


def test_a_kernel_that_has_other_parameters_now_has_no_stand_ins(gpu: SimulatedGPU) -> None:
    entry = recorded(plain, X, 16)
    for kernel in (other_names, fewer):
        with pytest.raises(NoStandIn):
            arguments(list(kernel.arg_names), entry.variant)


# -- what no launch has left -----------------------------------------------------------------------

HONEST = {"sig.a": "*fp32", "sig.b": "i32", "attr.[0]": [["tt.divisibility", 16]], "attr.[1]": []}


@pytest.mark.parametrize(
    "changes",
    [
        {"sig.a": "*evil"},
        {"sig.a": 3},
        {"sig.a": "void"},
        {"sig.a": "nvTmaDesc"},
        {"sig.a": "tensordesc<fp16[64, 64]"},
        {"sig.a": "tensordesc<fp16[]>"},
        {"sig.a": "tensordesc<evil[64]>"},
        {"sig.a": "tensordesc<fp16[1, 1, 1, 1, 1, 1]>"},
        {"sig.a": "tensordesc<fp16[64],NVMMASharedLayout()>"},
        {"sig.a": ["tuple", *["i32"] * 1000]},
        {"sig.a": ["tuple", ["tuple", ["tuple", ["tuple", ["tuple", ["tuple", "i32"]]]]]]},
        {"sig.b": "constexpr"},
        {"sig.b": "constexpr", "const.[1]": ["kernel", "os", "system"]},
        {"sig.b": "constexpr", "const.[1]": {"a": 1}},
        {"sig.b": "constexpr", "const.[1]": "x" * 10**6},
        {"sig.c": "i32"},
        {"attr.[0]": [["llvm.x", 1]]},
        {"attr.[0]": "no"},
        {"const.[[[[": 1},
        {"const." + "[" * 10**5: 1},
    ],
)
def test_what_no_variant_holds_has_no_stand_ins(changes: dict[str, Any]) -> None:
    assert len(arguments(["a", "b"], HONEST)) == 2
    with pytest.raises((NoStandIn, ValueError)):
        arguments(["a", "b"], {**HONEST, **changes})


def test_what_stands_for_a_tensor_has_no_memory() -> None:
    near, far = Pointer("fp32", aligned=True, near=True), Pointer("fp32", aligned=False, near=False)
    assert near.data_ptr() % 16 == 0 != far.data_ptr() % 16
    assert near.ptr_range() < 1 << 31 <= far.ptr_range()
    assert not isinstance(near, torch.Tensor)


def test_the_table_of_calls_covers_what_a_variant_may_hold(gpu: SimulatedGPU) -> None:
    """So that a new kind of value that is written down is tried here."""
    kinds = Counter(type(args[1]) for kernel, args, _ in calls().values() if kernel is constant)
    assert {int, bool, float, str, tuple, type(None), tl.dtype, tl.constexpr} <= set(kinds)
    assert any(kernel is signature_kernels.wide for kernel, _, _ in calls().values())
