"""A variant that was kept is the variant that a launch compiles: same key in Triton's cache."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton.compiler.compiler import make_backend

from tuneonce.model.codec import Unencodable
from tuneonce.triton.compile.code_texts import CodeTexts
from tuneonce.triton.compile.shipment import Shipment, shipment_for, shipment_of
from tuneonce.triton.compile.variants import describe, join, rebuild, split
from tuneonce.triton.kernel.autotuner_state import AutotunerState
from tuneonce.triton.kernel.session import Session


@triton.jit
def twice(x):
    return x * 2


@triton.autotune(
    configs=[triton.Config({"BLOCK": 16}), triton.Config({"BLOCK": 32}, num_warps=8)], key=["n"]
)
@triton.jit
def kernel(
    x, out, n, bias, one, scale: tl.constexpr, kind: tl.constexpr, fn: tl.constexpr,
    word: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = fn(tl.load(x + i, mask=i < n)).to(kind) * scale + one
    if bias is not None and word == "add":
        value += tl.load(bias + i, mask=i < n)
    tl.store(out + i, value, mask=i < n)


def shipments(scale: Any = 0.5, bias: Any = None, **more: Any) -> list[Shipment]:
    x = torch.zeros(64)
    args = (x, x, 64, bias, 1, scale, tl.float32, twice, "add")
    nargs = dict(zip(kernel.arg_names, args, strict=False))
    kwargs = {"grid": (1,), "warmup": False, **more}

    def session() -> Session:
        return Session(kernel, AutotunerState(), (), nargs, args, kwargs)

    found = [
        shipment_for(session(), config, on_its_way=lambda _: False) for config in kernel.configs
    ]
    assert all(found)
    return found  # type: ignore[return-value]


def target() -> Any:
    return triton.runtime.driver.active.get_current_target()


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"scale": 2},
        {"scale": True},
        {"scale": float("inf")},
        {"bias": torch.zeros(64)},
        {"debug": True},
    ],
)
def test_a_variant_comes_back_as_the_same_binary(values: dict[str, Any]) -> None:
    made = shipments(**values)
    variants = {str(i): one.variant for i, one in enumerate(made)}
    common, each = split(variants)  # type: ignore[arg-type]
    assert each["0"].keys() == each["1"].keys() - {"opt.num_warps"}
    stored = json.loads(json.dumps([common, each]))
    for i, first in enumerate(made):
        variant = join(kernel.fn, stored[0], stored[1][str(i)])
        for config in (None, kernel.configs[i]):
            source, options = rebuild(kernel.fn, variant, config)
            texts = CodeTexts()
            again = shipment_of(source, target(), options, texts, on_its_way=lambda _: False)
            assert again.hash == first.hash
            assert again.job is not None
            assert first.job is not None
            assert again.job["complete"] == first.job["complete"]
            # What the helper compiles is the same to the last option.
            parsed = make_backend(target()).parse_options(dict(again.job["options"]))
            assert parsed == make_backend(target()).parse_options(dict(first.job["options"]))
    assert made[0].hash != made[1].hash


@pytest.mark.usefixtures("gpu")
def test_a_kernel_with_other_parameters_is_refused() -> None:
    variant = dict(shipments()[0].variant or {})
    del variant["sig.bias"]
    with pytest.raises(ValueError, match="other parameters"):
        join(kernel.fn, variant, {})


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    "hostile",
    [
        {"opt.ir_override": "/tmp/evil.ttgir"},
        {"opt.extern_libs": [["libdevice", "/tmp/evil.bc"]]},
        {"opt.num_warps": ["list", 1]},
        {"const.[7]": ["kernel", "os", "system"]},
        {"const.[7]": ["kernel", "not.loaded", "f"]},
        {"const.[7]": ["module", "os"]},
        {"const.{}": 1},
        {"else.x": 1},
    ],
)
def test_a_hostile_variant_is_refused(hostile: dict[str, Any]) -> None:
    variant = {**(shipments()[0].variant or {}), **hostile}
    with pytest.raises((ValueError, Unencodable)):
        rebuild(kernel.fn, variant)
    assert "not.loaded" not in sys.modules


@pytest.mark.usefixtures("gpu")
def test_what_cannot_be_described_is_not_kept() -> None:
    from triton.compiler.compiler import ASTSource, make_backend

    class Odd:
        pass

    signature = dict.fromkeys(kernel.fn.arg_names, "constexpr")
    source = ASTSource(kernel.fn, signature, {(5,): Odd()}, {})
    backend = make_backend(target())
    with pytest.raises(Unencodable):
        describe(source, {}, backend)
    source = ASTSource(kernel.fn, signature, {}, {})
    with pytest.raises(Unencodable):
        describe(source, {"ir_override": "x.ttgir"}, backend)


def test_nothing_in_common() -> None:
    assert split({}) == ({}, {})
    assert split({"a": {"x": 1, "y": 1}, "b": {"x": True, "y": 1}}) == (
        {"y": 1},
        {"a": {"x": 1}, "b": {"x": True}},
    )
