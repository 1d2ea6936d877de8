"""Which constants have moved since the last start, and what is made of a recorded variant then."""

from __future__ import annotations

from typing import Any

import pytest

from tuneonce.model.profiles import UsedVariant
from tuneonce.replay.drift import moved_constants, with_moved

NAMES = ("x", "n", "BLOCKS", "MODE", "MORE")


def variant(blocks: Any = 1000, mode: Any = 1, **changes: Any) -> dict[str, Any]:
    """One of a kernel whose third and fourth parameters are constants."""
    constants = {"const.[2]": blocks, "const.[3]": mode}
    return {"sig.x": "*fp32", "sig.n": "i32", "attr.[0]": [["tt.divisibility", 16]]} | (
        constants | changes
    )


def entry(of: dict[str, Any], kernel: str = "kernels:other") -> UsedVariant:
    return UsedVariant(kernel, of, [("num_warps", 4)], "binary", "key", "serving", ["s1"], 5.0)


def moved(recorded: list[dict[str, Any]], *now: dict[str, Any]) -> Any:
    return moved_constants(recorded, now, NAMES)


# -- what has moved -------------------------------------------------------------------------------


def test_a_constant_with_another_value_has_moved() -> None:
    assert moved([variant()], variant(990)) == {("BLOCKS", 1000): 990}


def test_a_size_and_what_is_made_of_it_move_together() -> None:
    assert moved([variant(mode=2000)], variant(990, 1980)) == {
        ("BLOCKS", 1000): 990,
        ("MODE", 2000): 1980,
    }


def test_the_recorded_variant_that_is_nearest_says_what_has_moved() -> None:
    recorded = [variant(500, 3), variant(1000, 1), variant(800, 1)]
    # Of two that are as near, the first: a profile names first what is used most, then the newest.
    assert moved(recorded, variant(990)) == {("BLOCKS", 1000): 990}


def test_what_it_was_used_with_before_and_is_again_has_not_moved() -> None:
    recorded = [variant(), variant(7)]
    assert moved(recorded, variant(), variant(7)) == {}
    assert moved(recorded, variant()) == {}


def test_another_use_beside_one_that_is_as_it_was_is_no_drift() -> None:
    assert moved([variant()], variant(), variant(7)) == {}


def test_two_uses_of_a_kernel_are_no_drift() -> None:
    """Nobody knows which of the two has come in the place of the recorded one."""
    assert moved([variant()], variant(7), variant(990)) == {}


@pytest.mark.parametrize(
    "now",
    [
        variant(990, "add"),
        variant(990, True),
        variant(990, 1.0),
        variant(990, None),
        variant(990, **{"sig.n": "i64"}),
        variant(990, **{"attr.[0]": []}),
        variant(990, **{"attr.[1]": [["tt.divisibility", 16]]}),
        variant(990, **{"const.[4]": 5}),
    ],
    ids=str,
)
def test_what_differs_in_anything_else_is_another_use(now: dict[str, Any]) -> None:
    assert moved([variant()], now) == {}


@pytest.mark.parametrize(("old", "new"), [(True, False), (1, True), (1.5, 2.5), ("a", "b")])
def test_only_integers_move(old: Any, new: Any) -> None:
    assert moved([variant(old)], variant(new)) == {}


def test_what_differs_in_many_constants_is_another_use() -> None:
    old, new = ({f"const.[{n}]": n + add for n in range(5)} for add in (100, 200))
    assert moved_constants([old], [new], [f"P{n}" for n in range(5)]) == {}
    del old["const.[4]"], new["const.[4]"]
    assert len(moved_constants([old], [new], [f"P{n}" for n in range(5)])) == 4


def test_values_in_tuples_and_of_parameters_that_are_none_are_left() -> None:
    assert moved([{"const.[2, 0]": 5}], {"const.[2, 0]": 6}) == {}
    assert moved([{"const.[9]": 5}], {"const.[9]": 6}) == {}


# -- what is made ready instead -------------------------------------------------------------------


def test_a_recorded_variant_gets_the_value_of_now() -> None:
    found = with_moved(entry(variant()), NAMES, {("BLOCKS", 1000): 990})
    assert found is not None
    assert found.variant == variant(990)
    # Its binary and its name in the kernel's cache are not known before it is made.
    assert (found.binary, found.key) == ("", "")
    assert (found.kernel, found.options) == ("kernels:other", [("num_warps", 4)])


def test_the_name_decides_and_not_the_value_alone() -> None:
    """The same value in a parameter of another name is that one's own."""
    both = variant(1000, 1000)
    found = with_moved(entry(both), NAMES, {("BLOCKS", 1000): 990})
    assert found is not None
    assert found.variant == variant(990, 1000)
    assert with_moved(entry(both), ("x", "n", "A", "B"), {("BLOCKS", 1000): 990}) is None


def test_another_place_in_another_kernel_is_the_same_constant() -> None:
    found = with_moved(entry(variant(5, 1000)), ("x", "n", "MODE", "BLOCKS"), {("BLOCKS", 1000): 9})
    assert found is not None
    assert found.variant == variant(5, 9)


@pytest.mark.parametrize("value", [999, True, 1000.0, "1000", None])
def test_another_value_stays(value: Any) -> None:
    assert with_moved(entry(variant(value)), NAMES, {("BLOCKS", 1000): 990, ("BLOCKS", 1): 2}) in (
        None,
    )


def test_a_value_that_stands_for_no_constant_stays() -> None:
    of = {"const.[2, 0]": 1000, "const.[9]": 1000, "attr.[2]": 1000}
    assert with_moved(entry(of), NAMES, {("BLOCKS", 1000): 990}) is None
