"""How parts of keys are written for people."""

from __future__ import annotations

import enum

import pytest

from tuneonce.model.codec import Atom, canonical, encode
from tuneonce.model.key import Difference
from tuneonce.model.wording import (
    config_text,
    difference_text,
    natural,
    programs_range,
    programs_text,
    tuning,
    tuning_text,
    value_text,
    world_text,
)


class Mode(enum.Enum):
    FAST = 1


def text_of(value: object) -> str:
    return canonical(encode(value))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (64, "64"),
        (None, "None"),
        (True, "True"),
        ("row", "row"),
        (0.5, "0.5"),
        ((1, 2), "(1, 2)"),
        (Mode.FAST, "Mode.FAST"),
        (Atom("torch.dtype", "torch.int8"), "torch.int8"),
        (Atom("constexpr", text_of(2)), "2"),
        (Atom("constexpr", text_of(Atom("constexpr", text_of(3)))), "3"),
        (Atom("numpy.int64", text_of(7)), "7"),
    ],
)
def test_value_text(value: object, shown: str) -> None:
    assert value_text(text_of(value)) == shown


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "{}", "7", '["int"]', '["float","0x1p99999"]', '["atom",1,2]', "a.b"]
)
def test_texts_that_are_no_values_never_raise(text: str) -> None:
    assert isinstance(value_text(text), str)
    assert isinstance(config_text([("BLOCK", text), ("x", [])]), str)


def test_deep_nesting_never_raises() -> None:
    assert value_text("[" * 100_000)


def test_tuning_key_is_short_with_tritons_names_of_types() -> None:
    parts = [
        ("kernel.name", "add"),
        ("key.n", text_of(64)),
        ("key.x.dtype", text_of("torch.bfloat16")),
        ("key.y.dtype", text_of("torch.made_up")),
        ("world.arch", "90"),
    ]
    key = tuning(parts)
    assert key == {"n": "64", "x.dtype": "torch.bfloat16", "y.dtype": "torch.made_up"}
    assert tuning_text(key) == "n=64 x=bf16 y=made_up"


def test_a_scalar_that_has_a_type_too_is_shown_twice() -> None:
    assert tuning_text({"n": "64", "n.dtype": "int32"}) == "n=64 n.dtype=i32"


def test_no_tuning_key() -> None:
    assert tuning_text({}) == "-"


def test_world_text() -> None:
    gpu = {"backend": "cuda", "arch": "90", "compiler": "triton-3.6.0-0123456789ab"}
    assert world_text({**gpu, "product": "NVIDIA H200"}) == "NVIDIA H200 · cuda:90 · triton-3.6.0"
    assert world_text({**gpu, "product": "unknown"}) == "cuda:90 · triton-3.6.0"
    assert world_text({}) == "?:? · ?"


def test_candidates_leave_out_what_triton_defaults() -> None:
    config = [("BLOCK", encode(64)), ("maxnreg", encode(None)), ("num_warps", encode(4))]
    assert config_text(config) == "BLOCK=64 num_warps=4"
    # From a record that another program has written.
    assert config_text([("BLOCK", ["int"])]) == 'BLOCK=["int"]'


@pytest.mark.parametrize(
    ("work_class", "bounds"),
    [("c00", (1, 3)), ("c02", (16, 63)), ("cxx", None), ("", None), ("c2", None)],
)
def test_programs_of_a_work_class(work_class: str, bounds: tuple[int, int] | None) -> None:
    assert programs_range(work_class) == bounds
    text = programs_text(work_class)
    assert text == ("any size" if bounds is None else f"{bounds[0]}–{bounds[1]} programs")


def test_programs_of_a_large_work_class() -> None:
    assert programs_text("c05") == "1,024–4,095 programs"
    assert programs_text("c05e06") == "1,024–4,095 programs of ~4k"
    assert programs_text("c00e03") == "1–3 programs of ~64"
    assert programs_text("c00e12") == "1–3 programs of ~16M"
    assert programs_text("c00e31") == "1–3 programs of 4^31"


@pytest.mark.parametrize(
    ("part", "record", "asked", "text"),
    [
        ("kernel.source", "aa", "bb", "source differs"),
        ("kernel.callee.helper", "aa", "bb", "callee.helper differs"),
        ("kernel.callee.helper", None, "bb", "callee.helper is new"),
        ("kernel.callee.helper", "aa", None, "callee.helper is gone"),
        ("kernel.global.SCALE", text_of(1), text_of(2), "global.SCALE: 1 → 2"),
        ("kernel.global.SCALE", None, text_of(2), "global.SCALE is new: 2"),
        ("kernel.global.f", "libdevice.exp", "math.exp", "global.f: libdevice.exp → math.exp"),
        ("kernel.global.S", f"{text_of(1)}|{text_of(2)}", text_of(1), "global.S: 1|2 → 1"),
        ("world.product", "NVIDIA H100", "NVIDIA H200", "world.product: NVIDIA H100 → NVIDIA H200"),
        ("world.env.TRITON_X", None, "1", "world.env.TRITON_X is new: 1"),
        ("key.n", text_of(64), text_of(65), "key.n: 64 → 65"),
        # What looks alike is told apart.
        ("key.n", text_of(1), text_of(1.0), "key.n: 1 → 1.0"),
        ("key.n", text_of("1"), text_of(1), "key.n: '1' → 1"),
        ("key.p", text_of(0.1), text_of(0.1 + 1e-9), "key.p: 0.1 → 0.100000001"),
        ("key.p", text_of(0.0), text_of(-0.0), "key.p: 0 → -0"),
    ],
)
def test_differences(part: str, record: str | None, asked: str | None, text: str) -> None:
    assert difference_text(Difference(part, asked, record)) == text


def test_natural_order() -> None:
    assert sorted(["n=128", "n=64", "n=9 x", "m"], key=natural) == ["m", "n=9 x", "n=64", "n=128"]
