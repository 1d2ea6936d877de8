"""Levels of candidates, and the times that they stand for."""

from __future__ import annotations

from math import log

import pytest

from tuneonce.tuning.levels import Excess, gain, level_beside, summary


def test_levels_are_times_once_more() -> None:
    found = summary([log(0.5), log(1.0), log(2.0)], log(10.0))
    assert found.median_ms == pytest.approx(10.0)
    assert (found.p20_ms, found.p80_ms) == pytest.approx((10 * 0.5**0.6, 10 * 2**0.6))
    assert found.samples == 3


def test_one_that_has_become_slower_is_found_by_those_beside_it() -> None:
    levels = {0: 0.0, 1: log(0.5), 2: log(1.1)}
    times = {0: [1.0] * 8, 1: [2.0] * 8, 2: [1.1] * 8}
    assert level_beside(times, levels, 1) == pytest.approx(log(2.0))


def test_without_passes_enough_nothing_is_known() -> None:
    levels = {0: 0.0, 1: 0.0}
    assert level_beside({0: [1.0], 1: [1.0]}, levels, 0) is None
    assert level_beside({0: [1.0] * 9}, levels, 0) is None
    assert level_beside({0: [], 1: [1.0] * 9}, levels, 0) is None
    assert level_beside({0: [1.0] * 9, 2: [1.0] * 9}, levels, 0) is None


def test_what_a_launch_saves_is_told_by_passes_else_by_levels() -> None:
    levels = {0: 0.0, 1: log(0.5), 2: log(4.0)}
    assert gain({}, levels, 1, 0) == pytest.approx(0.5)
    assert gain({}, levels, 2, 0) == pytest.approx(-3.0)
    assert gain({0: [1.0] * 8, 1: [0.75] * 8}, levels, 1, 0) == pytest.approx(0.25)
    assert gain({0: [1.0] * 8, 1: [0.75]}, levels, 1, 0) == pytest.approx(0.5)
    assert gain({}, levels, 0, 0) == 0.0
    assert gain({}, levels, 3, 0) is None


def test_the_excess_is_what_is_above() -> None:
    spent = Excess()
    spent.add(log(3.0), 3.0)
    spent.add(log(0.5), 0.5)
    assert (spent.launches, spent.ms) == pytest.approx((2.0, 2.0))
