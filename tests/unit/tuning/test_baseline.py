"""How long the incumbent would take: by size, by what came last, in spite of what is far off."""

from __future__ import annotations

from math import exp, log
from random import Random

import pytest

from tuneonce.tuning.baseline import Baseline


def test_the_last_launches_of_the_same_size_decide() -> None:
    baseline = Baseline()
    for ms in (9.0, 9.0, 9.0, 1.0, 1.1, 1.2, 1.3, 1.4):
        baseline.add(log(100), log(ms))
        baseline.add(log(400), log(50.0))
    # Without the neighbours' limit, or without telling sizes apart, it were 9 or 50.
    assert exp(baseline.expected(log(100))) == pytest.approx(1.3)
    assert exp(baseline.expected(log(101))) == pytest.approx(1.2)  # of about that size


def test_one_that_is_far_off_changes_nothing() -> None:
    baseline = Baseline()
    for ms in (1.0, 1.0, 30.0, 1.0):
        baseline.add(0.0, log(ms))
    assert baseline.expected(0.0) == pytest.approx(0.0)


@pytest.mark.parametrize("growth", [0.0, 0.6, 1.0])
def test_times_of_other_sizes_are_scaled_as_they_grow(growth: float) -> None:
    random, baseline = Random(1), Baseline()
    for number in range(64):
        size = random.uniform(0, 1.3)
        spike = 3.0 if number % 10 == 9 else 0.0
        baseline.add(size, growth * size + random.gauss(0, 0.02) + spike)
    assert baseline.growth == pytest.approx(growth, abs=0.05)
    assert baseline.expected(2.0) == pytest.approx(growth * 2.0, abs=0.1)
    assert baseline.scaled(1.0, growth) == pytest.approx(0.0, abs=0.05)


def test_what_noise_says_of_the_growth_is_not_believed() -> None:
    baseline = Baseline()
    for number in range(32):
        baseline.add(number / 16, -float(number))
    assert baseline.growth == 0.0


def test_another_incumbents_times_follow_from_the_difference() -> None:
    baseline = Baseline()
    baseline.add(0.0, 1.0)
    baseline.shift(-0.5)
    assert baseline.expected(0.0) == 0.5
    assert baseline.last_size == 0.0


def test_before_the_first_launch_nothing_is_expected() -> None:
    with pytest.raises(IndexError):
        Baseline().expected(0.0)


def test_a_launch_is_compared_with_its_own_size_until_the_growth_is_known() -> None:
    baseline = Baseline()
    for number in range(8):
        assert not baseline.tells(1.0)
        assert baseline.tells(0.05) is (number >= 2)
        baseline.add(0.0, 0.0)
    assert not baseline.tells(1.0)  # launches of one size do not say it
    for _ in range(8):
        baseline.add(1.0, 1.0)
    assert baseline.tells(0.5)
    assert baseline.growth == pytest.approx(1.0)
