"""How far outputs are apart, and that rounding is near."""

from __future__ import annotations

from math import inf, isclose
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from tuneonce.triton.measure.outputs import distance as module
from tuneonce.triton.measure.outputs.distance import (
    BLOCK,
    Distance,
    distance,
    farther,
    is_comparable,
    scale_of,
)

MANY = 40 * BLOCK


def noise(count: int = MANY, seed: int = 0) -> Any:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_equal_outputs_are_at_no_distance() -> None:
    x = noise()
    assert distance(x, x.clone()) == Distance(0.0, 0.0)
    assert distance(torch.zeros(300), torch.zeros(300)) == Distance(0.0, 0.0)
    assert distance(torch.zeros(0), torch.zeros(0)) == Distance(0.0, 0.0)


def test_it_is_the_norm_of_the_difference_over_the_norm() -> None:
    x, y = noise(), noise(seed=1)
    expected = float((x.double() - y.double()).norm() / x.double().norm())
    assert isclose(distance(x, y).whole, expected, rel_tol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_rounding_once_is_near(dtype: Any) -> None:
    x = noise()
    other = x.to(dtype).to(torch.float32)
    assert 0 < distance(x, other).block < torch.finfo(dtype).eps


def test_one_wrong_tile_of_many_is_seen_in_its_block() -> None:
    x = noise(1000 * BLOCK)
    other = x.clone()
    other[BLOCK * 17 : BLOCK * 18] = 0
    found = distance(x, other)
    assert found.whole < 0.05
    assert isclose(found.block, 1.0, abs_tol=0.3)


def test_a_short_last_block_counts_as_any() -> None:
    x = noise(3 * BLOCK + 5)
    other = x.clone()
    other[-5:] = 0
    assert distance(x, other).block > 0.3


def test_a_small_block_among_large_ones_says_little() -> None:
    x = noise()
    x[:BLOCK] *= 1e-6
    other = x.clone()
    other[:BLOCK] = 0
    assert distance(x, other).block < 1e-5


def test_a_large_block_does_not_hide_the_others() -> None:
    x = noise()
    x[:BLOCK] = -1e30
    other = x.clone()
    other[BLOCK : 2 * BLOCK] = 0
    assert distance(x, other).block > 0.5


def test_blocks_of_zeros_do_not_make_the_rest_exact() -> None:
    x = torch.cat([noise(), torch.zeros(10 * MANY)])
    other = x.clone()
    other[:BLOCK] *= 1 + 1e-3
    assert distance(x, other).block < 2e-3


def test_a_floor_is_for_what_is_nothing_but_rounding() -> None:
    x, y = noise() * 1e-8, noise(seed=1) * 1e-8
    assert distance(x, y).block > 1
    assert distance(x, y, floor=1e-3).block < 1e-4
    assert distance(torch.zeros(MANY), y).block == inf
    assert distance(torch.zeros(MANY), y, floor=1e-3).block < 1e-4


def test_what_is_no_number_must_be_none_in_both() -> None:
    x = noise()
    x[3] = float("nan")
    assert distance(x, x.clone()) == Distance(0.0, 0.0)
    assert distance(x, noise()) == Distance(inf, inf)
    assert distance(noise(), x) == Distance(inf, inf)


def test_infinity_is_the_largest_number() -> None:
    """Whether a sum is beyond float16 or just within it is a matter of rounding."""
    x = torch.full((MANY,), 65504.0, dtype=torch.float16)
    other = x.clone()
    other[::2] = inf
    assert distance(x, other) == Distance(0.0, 0.0)
    assert distance(x, -other).block > 1
    ends = torch.full((MANY,), 1e308, dtype=torch.float64)
    assert distance(ends, -ends).block == 2.0


def test_numbers_of_other_types() -> None:
    assert is_comparable(torch.bfloat16)
    assert is_comparable(torch.complex64)
    assert not is_comparable(torch.int32)
    assert not is_comparable(torch.bool)
    x = torch.view_as_complex(noise().view(-1, 2))
    assert distance(x, x * 1j).block > 1


def test_the_farther_of_two() -> None:
    assert farther(Distance(1, 2), Distance(2, 1)) == Distance(2, 2)


def test_the_usual_size_of_elements() -> None:
    x = torch.cat([noise(), torch.zeros(10 * MANY), torch.full((BLOCK,), 1e30)])
    assert 0.5 < scale_of(x) < 2
    assert scale_of(torch.zeros(300)) == 0
    assert scale_of(torch.zeros(0)) == 0


def test_it_does_not_depend_on_how_much_is_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = noise(5 * BLOCK + 7), noise(5 * BLOCK + 7, seed=1)
    before = distance(x, y), scale_of(x)
    monkeypatch.setattr(module, "_CHUNK", 2 * BLOCK)
    after = distance(x, y), scale_of(x)
    assert isclose(after[0].whole, before[0].whole, rel_tol=1e-12)
    assert after[0].block == before[0].block
    assert after[1] == before[1]
