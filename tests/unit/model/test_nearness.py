"""How far two keys are apart."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneonce.model.codec import Atom, canonical, encode
from tuneonce.model.nearness import SAME, Distance, distance, number, values_by_name

Values = dict[str, Any]


def texts(values: Values) -> dict[str, str]:
    return {f"key.{name}": canonical(encode(value)) for name, value in values.items()}


def apart(ours: Any, theirs: Any) -> Distance:
    """Of two keys with one value each."""
    return distance(texts({"n": ours}), texts({"n": theirs}))


def holding(kind: str, value: Any) -> Atom:
    return Atom(kind, canonical(encode(value)))


@pytest.mark.parametrize(
    ("one", "other", "doublings"),
    [
        (64, 64, 0),
        (64, 128, 1),
        (128, 64, 1),
        (-64, -16, 2),
        (0.5, 2.0, 2),
        (2**4000, 2**4001, 1),
        ((64, 1), (128, 4), 3),
        ([64, 2], [64, 1], 1),
        ((64, (8,)), (64, (32,)), 2),
        (holding("constexpr", 64), holding("constexpr", 256), 2),
        (holding("numpy.int64", 64), holding("numpy.int64", 32), 1),
    ],
)
def test_numbers_are_apart_by_their_ratio(one: Any, other: Any, doublings: float) -> None:
    assert apart(one, other) == (0, pytest.approx(doublings))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, False),
        (1, True),
        (64, 64.0),
        (64, "64"),
        ("silu", "gelu"),
        (64, None),
        (0, 1),
        (0.0, 1e-9),
        (0.0, -0.0),
        (64, -64),
        (math.inf, 1.0),
        (math.nan, 1.0),
        ((64, 1), (64,)),
        ((64,), [64]),
        (holding("constexpr", 64), 64),
        (holding("constexpr", True), holding("constexpr", False)),
        (Atom("torch.dtype", "torch.float16"), Atom("torch.dtype", "torch.bfloat16")),
    ],
)
def test_all_else_is_different(one: Any, other: Any) -> None:
    assert apart(one, other) == apart(other, one) == (1, 0)


def test_what_only_one_has_is_different() -> None:
    assert distance(texts({"n": 64}), texts({"n": 64, "m": 1})) == (1, 0)
    assert distance(texts({}), texts({"n": 1, "m": 1})) == (2, 0)


def test_a_different_part_is_farther_than_any_number() -> None:
    ours = texts({"n": 64, "x.dtype": "torch.float16"})
    other_dtype = texts({"n": 64, "x.dtype": "torch.bfloat16"})
    other_number = texts({"n": 2**40, "x.dtype": "torch.float16"})
    assert distance(ours, other_number) < distance(ours, other_dtype)


def test_only_what_is_tuned_by_counts() -> None:
    parts = [("kernel.source", "0"), ("key.n", '["int","64"]'), ("world.arch", "90")]
    assert values_by_name(parts) == {"key.n": '["int","64"]'}


@pytest.mark.parametrize("text", ["", "[]", "{}", '["int"]', '["int",{}]', "[" * 5000, "null"])
def test_a_text_that_is_no_value_is_different(text: str) -> None:
    assert distance({"key.n": text}, {"key.n": '["int","64"]'}) == (1, 0)
    assert number("key.n", text) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(64, 64), (0, 0), (-0.5, -0.5), (holding("constexpr", 7), 7), (True, None), ("7", None)],
)
def test_which_values_are_numbers(value: Any, expected: float | None) -> None:
    assert number("key.n", canonical(encode(value))) == expected


@pytest.mark.parametrize("value", [math.inf, math.nan, None, (1,)])
def test_what_is_not_finite_or_no_number(value: Any) -> None:
    assert number("key.n", canonical(encode(value))) is None


def test_a_dtype_and_other_parts_are_no_numbers() -> None:
    assert number("key.x.dtype", '["int","7"]') is None
    assert number("world.arch", '["int","7"]') is None


_values = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.tuples(st.integers(), st.floats()),
)
_keys = st.dictionaries(st.sampled_from(["m", "n", "k"]), _values)


@given(_keys, _keys)
def test_it_is_symmetric_and_nothing_is_apart_from_itself(one: Values, other: Values) -> None:
    ours, theirs = texts(one), texts(other)
    found = distance(ours, theirs)
    assert found == distance(theirs, ours)
    assert found.doublings >= 0
    assert distance(ours, ours) == SAME
    assert found != SAME or ours.keys() == theirs.keys()
