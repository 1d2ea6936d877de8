"""Which variants are guessed from those that were launched, and which are not."""

from __future__ import annotations

from typing import Any

import pytest

from tuneonce.model.profiles import UsedVariant
from tuneonce.replay.specialisations import MOST_OF_A_KERNEL, guesses

ALIGNED = [["tt.divisibility", 16]]
# Two that may be sizes, and what makes a kernel one of many numbers.
STRIDES = ("s0", "s1", "s2")
NAMES = ("x", "n", "m", *STRIDES, "BLOCK")
FREE = frozenset(NAMES) - {"BLOCK"}

Guess = tuple[int, list[tuple[str, Any]], list[tuple[str, Any]]]


def number(name: str, of: str) -> dict[str, Any]:
    """What a variant says of an integer argument: `one`, `aligned`, `odd`, or odd and `wide`."""
    place = NAMES.index(name)
    if of == "one":
        return {f"sig.{name}": "constexpr", f"const.[{place}]": 1, f"attr.[{place}]": []}
    kind = "i64" if of == "wide" else "i32"
    return {f"sig.{name}": kind, f"attr.[{place}]": ALIGNED if of == "aligned" else []}


def entry(n: str, m: str, block: int = 64, warps: int = 4, **more: Any) -> UsedVariant:
    variant = {"sig.x": "*bf16", "attr.[0]": ALIGNED, **number("n", n), **number("m", m)}
    for name in STRIDES:
        variant |= number(name, "aligned")
    variant |= {"sig.BLOCK": "constexpr", "const.[6]": block}
    for part, value in more.items():
        variant[part.replace("_", ".", 1)] = value
    options = [("num_warps", warps)]
    return UsedVariant("kernels:one", variant, options, "binary", "key", "serving", ["s"], 5.0)


def told(one: UsedVariant) -> tuple[Any, Any]:
    return sorted(one.variant.items(), key=str), one.options


def made(*entries: UsedVariant) -> list[tuple[int, Any]]:
    found = guesses(entries, NAMES, FREE)
    assert all((one.binary, one.key) == ("", "") for _, one in found)
    return [(far, told(one)) for far, one in found]


def expected(*guessed: tuple[int, UsedVariant]) -> list[tuple[int, Any]]:
    return [(far, told(one)) for far, one in guessed]


def test_two_numbers_that_varied_are_put_together_otherwise_and_what_is_rare_comes_last() -> None:
    assert made(entry("odd", "odd"), entry("aligned", "aligned")) == expected(
        (1, entry("odd", "aligned")),
        (1, entry("aligned", "odd")),
        (2, entry("odd", "one")),
        (2, entry("one", "odd")),
        (3, entry("aligned", "one")),
        (3, entry("one", "aligned")),
        (4, entry("one", "one")),
    )


def test_a_number_that_was_neither_one_nor_aligned_may_be_either() -> None:
    assert made(entry("odd", "aligned")) == expected(
        (1, entry("aligned", "aligned")), (2, entry("one", "aligned"))
    )


def test_numbers_that_were_always_aligned_are_sizes_of_the_model() -> None:
    assert made(entry("aligned", "aligned")) == []
    assert made(entry("aligned", "one")) == []


def test_where_a_kernel_has_few_numbers_each_may_be_a_size() -> None:
    """As the number of sequences: sixteen at the first start, fifteen at the second."""
    variant = {"sig.batch": "i32", "attr.[0]": ALIGNED, "sig.D": "constexpr", "const.[1]": 64}
    one = UsedVariant("kernels:one", variant, [], "binary", "key", "serving", ["s"], 5.0)
    found = guesses([one], ("batch", "D"), {"batch"})
    assert [guess.variant for _, guess in found] == [
        {"sig.batch": "i32", "attr.[0]": [], "sig.D": "constexpr", "const.[1]": 64},
        {"sig.batch": "constexpr", "attr.[0]": [], "sig.D": "constexpr"}
        | {"const.[1]": 64, "const.[0]": 1},
    ]


def test_what_varies_for_one_candidate_varies_for_another() -> None:
    found = made(entry("odd", "odd"), entry("aligned", "odd"), entry("odd", "odd", 128, 8))
    assert (1, told(entry("aligned", "odd", 128, 8))) in found
    assert not any(told(entry("odd", "odd", 128, 4)) == one for _, one in found)


def test_numbers_of_another_type_are_put_together_too() -> None:
    found = made(entry("odd", "aligned"), entry("wide", "aligned"))
    assert [one for far, one in found if far == 1] == [told(entry("aligned", "aligned"))]


def test_pointers_vary_in_where_they_are_aligned_to_if_they_did() -> None:
    apart = {"attr_[0]": []}
    found = made(entry("aligned", "aligned"), entry("odd", "aligned", **apart))
    assert (1, told(entry("odd", "aligned"))) in found
    assert (1, told(entry("aligned", "aligned", **apart))) in found
    assert made(entry("aligned", "aligned"), entry("aligned", "aligned", sig_x="*fp32")) == []


@pytest.mark.parametrize(
    "more",
    [
        {"sig_n": "constexpr", "const_[1]": None},
        {"sig_n": "constexpr", "const_[1]": True},
        {"sig_n": "constexpr", "const_[1]": 2},
        {"sig_n": "fp32"},
        {"sig_n": "u1"},
        {"sig_n": ["tuple", "i32"]},
        {"const_[6]": 1},
    ],
    ids=str,
)
def test_what_is_another_use_does_not_vary(more: dict[str, Any]) -> None:
    assert made(entry("aligned", "aligned"), entry("aligned", "aligned", **more)) == []


def test_what_is_not_specialised_is_not_guessed() -> None:
    assert guesses([entry("odd", "odd")], NAMES, {"x", "BLOCK"}) == []


def test_what_differs_in_many_arguments_is_another_use() -> None:
    many = {part: value for name in STRIDES for part, value in number(name, "one").items()}
    other = {part.replace(".", "_", 1): value for part, value in many.items()}
    assert made(entry("aligned", "aligned"), entry("one", "aligned", **other)) == []
    # Of those that vary, the choice is the widest that is not too wide.
    found = made(entry("odd", "odd"), entry("odd", "odd", **other))
    assert {far for far, _ in found} == {1, 2, 3, 4}


def test_they_are_bounded_and_likely_ones_come_first() -> None:
    kinds = ("odd", "aligned")
    found = made(*(entry(kind, kind, block) for block in range(40) for kind in kinds))
    assert [far for far, _ in found] == [1] * MOST_OF_A_KERNEL


def test_nothing_is_made_of_nothing() -> None:
    assert guesses([], NAMES, FREE) == []
    assert guesses([entry("odd", "odd")], (), FREE) == []
