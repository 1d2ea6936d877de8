"""Which specialisations of arguments are put together, and which variants are left as they are."""

from __future__ import annotations

from typing import Any

import pytest

from tuneonce.model.profiles import UsedVariant
from tuneonce.replay.specialisations import MOST_OF_A_KERNEL, combinations

NAMES = ("x", "n", "m", "BLOCK")
ALIGNED = [["tt.divisibility", 16]]


def number(name: str, place: int, of: str) -> dict[str, Any]:
    """An integer argument: `one`, `aligned` or `odd`; or a wide one."""
    if of == "one":
        return {f"sig.{name}": "constexpr", f"const.[{place}]": 1}
    parts: dict[str, Any] = {f"sig.{name}": "i64" if of == "wide" else "i32"}
    return parts | ({f"attr.[{place}]": ALIGNED} if of == "aligned" else {})


def entry(n: str, m: str, block: int = 64, warps: int = 4, **more: Any) -> UsedVariant:
    variant = {"sig.x": "*bf16", **number("n", 1, n), **number("m", 2, m)}
    variant |= {"sig.BLOCK": "constexpr", "const.[3]": block, "attr.[0]": ALIGNED, **more}
    options = [("num_warps", warps)]
    return UsedVariant("kernels:one", variant, options, "binary", "key", "serving", ["s"], 5.0)


def plain(one: UsedVariant) -> tuple[Any, ...]:
    """What a variant is, whatever the order of its parts, and no record of a launch."""
    assert (one.binary, one.key) == ("", "")
    return (sorted(one.variant.items()), one.options)


def put_together(*entries: UsedVariant) -> list[Any]:
    return [plain(one) for one in combinations(entries, NAMES, {"BLOCK"})]


def expected(*entries: UsedVariant) -> list[Any]:
    return [(sorted(one.variant.items()), one.options) for one in entries]


def test_two_arguments_that_vary_are_combined() -> None:
    found = put_together(entry("odd", "odd"), entry("aligned", "aligned"))
    assert found == expected(entry("odd", "aligned"), entry("aligned", "odd"))


def test_one_argument_that_varies_has_nothing_to_be_combined_with() -> None:
    assert put_together(entry("odd", "odd"), entry("aligned", "odd"), entry("one", "odd")) == []


def test_what_varies_for_one_candidate_varies_for_another() -> None:
    found = put_together(entry("odd", "odd"), entry("aligned", "odd"), entry("odd", "odd", 128))
    assert found == expected(entry("aligned", "odd", 128))


def test_options_make_another_candidate_too() -> None:
    found = put_together(entry("odd", "odd"), entry("one", "odd"), entry("odd", "odd", warps=8))
    assert found == expected(entry("one", "odd", warps=8))


def test_types_of_numbers_vary_too() -> None:
    found = put_together(entry("odd", "odd"), entry("wide", "aligned"))
    assert found == expected(entry("odd", "aligned"), entry("wide", "odd"))


def test_pointers_vary_in_where_they_are_aligned_to_and_not_in_their_type() -> None:
    apart = entry("odd", "aligned", **{"attr.[0]": []})
    found = put_together(entry("odd", "odd"), apart)
    assert found == expected(
        entry("odd", "aligned"),
        entry("odd", "odd", **{"attr.[0]": []}),
    )
    assert put_together(entry("odd", "odd"), entry("odd", "aligned", **{"sig.x": "*fp32"})) == []


@pytest.mark.parametrize(
    "more",
    [
        {"sig.m": "constexpr", "const.[2]": None},
        {"sig.m": "constexpr", "const.[2]": True},
        {"sig.m": "constexpr", "const.[2]": 2},
        {"sig.m": "fp32"},
        {"sig.m": "u1"},
        {"sig.m": ["tuple", "i32"]},
    ],
    ids=str,
)
def test_what_is_no_number_is_another_use(more: dict[str, Any]) -> None:
    assert put_together(entry("odd", "odd"), entry("aligned", "odd", **more)) == []
    # It still varies in its first number, each for itself.
    found = put_together(
        entry("odd", "odd"), entry("odd", "odd", **more), entry("one", "odd", **more)
    )
    assert found == expected(entry("one", "odd"))


def test_a_constant_of_the_kernel_does_not_vary() -> None:
    assert put_together(entry("odd", "odd", 1), entry("aligned", "odd", 2)) == []


def test_what_differs_in_many_arguments_is_another_use() -> None:
    names = ("a", "b", "c", "d")

    def all_of(of: str) -> UsedVariant:
        variant = {k: v for i, name in enumerate(names) for k, v in number(name, i, of).items()}
        return UsedVariant("kernels:one", variant, [], "binary", "key", "serving", ["s"], 5.0)

    assert list(combinations([all_of("odd"), all_of("aligned")], names, ())) == []


def test_they_are_bounded_and_of_what_is_used_most_first() -> None:
    kinds = ("odd", "aligned", "one", "wide")
    entries = [entry(kind, kind, block) for block in range(40) for kind in kinds]
    found = put_together(*entries)
    assert len(found) == MOST_OF_A_KERNEL
    assert [dict(parts)["const.[3]"] for parts, _ in found] == [
        block for block in range(3) for _ in range(12)
    ][:MOST_OF_A_KERNEL]


def test_nothing_is_made_of_nothing() -> None:
    assert put_together() == []
    assert list(combinations([entry("odd", "odd")], (), ())) == []
