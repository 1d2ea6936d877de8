"""What a variant may hold: what kernels have comes back as it was, and all else is refused."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl

from tuneonce.model.codec import Unencodable
from tuneonce.triton.compile import variant_grammar as grammar


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "kind",
    ["i32", "*fp32", "*kbf16", "*fp8e4nv", "constexpr", "nvTmaDesc", "tensordesc<fp16[64, 32]>",
     ("i32", "*fp16"), ("i64", ("*fp32", "constexpr")), ()],
)  # fmt: skip
def test_types(kind: Any) -> None:
    assert grammar.decode_type(through_json(grammar.encode_type(kind))) == kind


@pytest.mark.parametrize(
    "kind",
    ["", "i33", "*fp32\n", "fp32 ", "__import__('os')", "tensordesc<fp16[64],open('x')>",
     "tensordesc<fp16[1234567890]>", "tensordesc<fp16[0]>", "tensordesc<fp16[016]>",
     "tensordesc<u1[16]>", "tensordesc<void[16]>", "tensordesc<fp16[1, 1, 1, 1, 1, 1]>",
     None, 3, ["i32"], ("i32", "evil")],
)  # fmt: skip
def test_what_is_no_type(kind: Any) -> None:
    with pytest.raises(Unencodable):
        grammar.encode_type(kind)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [("tensordesc<bf16[64, 32]>", ("bf16", [64, 32])), ("tensordesc<u8[16]>", ("u8", [16])),
     ("i32", None), ("*fp32", None), ("nvTmaDesc", None)],
)  # fmt: skip
def test_what_the_type_of_a_descriptor_says(kind: str, parts: Any) -> None:
    assert grammar.descriptor_parts(kind) == parts


@pytest.mark.parametrize(
    "value",
    [None, 3, ["i32"], [], ["tuple", "evil"], ["list", "i32"], [["tuple"]], "evil",
     ["tuple", ["tuple", ["tuple", ["tuple", ["tuple", ["tuple"]]]]]], ["tuple", *["i32"] * 64]],
)  # fmt: skip
def test_what_is_read_as_no_type(value: Any) -> None:
    with pytest.raises(ValueError, match=r"type|value"):
        grammar.decode_type(value)


CONSTANTS = [
    0, -(2**64), 2**64, True, False, None, "", "a" * 200, 0.1, -0.0, math.inf, -math.inf, (), [],
    (1, [2.5, "x"], (None,)), tl.float16, tl.bfloat16, tl.int1,
]  # fmt: skip


@pytest.mark.parametrize("value", CONSTANTS, ids=repr)
def test_constants(value: Any) -> None:
    read = grammar.decode_constant(through_json(grammar.encode_constant(value)))
    assert (type(read), repr(read)) == (type(value), repr(value))


def test_a_constant_that_is_no_number() -> None:
    assert math.isnan(grammar.decode_constant(grammar.encode_constant(math.nan)))


def test_a_constexpr_holds_its_value() -> None:
    read = grammar.decode_constant(through_json(grammar.encode_constant(tl.constexpr((1, 0.5)))))
    assert isinstance(read, tl.constexpr)
    assert read.value == (1, 0.5)


@triton.jit
def helper(x):
    return x + 1


class Subclass(int): ...


@pytest.mark.parametrize(
    "value",
    [2**64 + 1, "a" * 201, b"bytes", {"a": 1}, object(), Subclass(1), lambda: None, (1, object())],
    ids=lambda value: type(value).__name__,
)
def test_a_constant_that_is_not_kept(value: Any) -> None:
    with pytest.raises(Unencodable):
        grammar.encode_constant(value)


@pytest.mark.parametrize(
    "value",
    [{}, [], [1], ["open", "/etc/passwd"], ["float", "1.5"], ["float", 1.5], ["dtype", "evil"],
     ["dtype", "int32", "int32"], ["constexpr"], ["kernel", "os"], ["kernel", "os", "system"],
     ["kernel", "not_loaded_ever", "f"], ["kernel", "os", "path.__class__"], ["kernel", 1, "f"],
     2**64 + 1, "a" * 201, 1.5, ["tuple", 1.5], ["list", *[0] * 64]],
    ids=repr,
)  # fmt: skip
def test_what_is_read_as_no_constant(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        grammar.decode_constant(value)


def test_a_value_that_is_nested_too_deep() -> None:
    deep: Any = 1
    for _ in range(6):
        deep = ["tuple", deep]
    with pytest.raises(ValueError, match="too deep"):
        grammar.decode_constant(deep)


def test_kernels_are_found_where_they_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, helper.fn.__module__, sys.modules[__name__])
    written = through_json(grammar.encode_constant(helper))
    assert written == ["kernel", helper.fn.__module__, "helper"]
    assert grammar.decode_constant(written) is helper
    assert "not_loaded_ever" not in sys.modules


def test_nothing_is_asked_for_an_attribute_that_it_may_make_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Eager:
        def __getattr__(self, name: str) -> Any:
            pytest.fail("it was asked")

    monkeypatch.setitem(sys.modules, "eager", Eager())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not loaded"):
        grammar.find("eager", "anything")


def test_attributes() -> None:
    for value in ([], [["tt.divisibility", 16]]):
        assert grammar.decode_attributes(through_json(grammar.encode_attributes(value))) == value
    for value in (
        None,
        [["tt.divisibility"]],
        [["tt.divisibility", -1]],
        [["tt.divisibility", True]],
        [["tt.divisibility", 1 << 31]],
        [["tt.other", 16]],
        [["tt.divisibility", 16]] * 3,
    ):
        with pytest.raises(ValueError, match="no attributes"):
            grammar.decode_attributes(value)
        with pytest.raises(Unencodable):
            grammar.encode_attributes(value)


def test_paths() -> None:
    assert grammar.decode_path("[3]") == (3,)
    assert grammar.decode_path("[0, 1, 2]") == (0, 1, 2)
    for text in ("[]", "3", "[-1]", "[true]", "[0,1,2,3,4]", "[[0]]", "{}", "", "[" * 300):
        with pytest.raises(ValueError, match=r".+"):
            grammar.decode_path(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_warps", 8),
        ("maxnreg", None),
        ("arch", None),
        ("debug", True),
        ("default_dot_input_precision", "tf32"),
    ],
)
def test_options(name: str, value: Any) -> None:
    assert grammar.check_option(name, value) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_warps", True), ("num_warps", "8"), ("num_warps", -1), ("num_warps", 1 << 31),
     ("debug", 1), ("default_dot_input_precision", "x"), ("ptx_options", "--help"),
     ("ir_override", "/dev/zero"), ("extern_libs", ()), ("", 1)],
)  # fmt: skip
def test_options_that_are_not_kept(name: str, value: Any) -> None:
    with pytest.raises(Unencodable):
        grammar.check_option(name, value)
