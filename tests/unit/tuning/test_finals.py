"""Differences within passes, and who wins by them."""

from __future__ import annotations

import pytest

from tuneonce.tuning.finals import Finals, difference


def test_a_spike_moves_a_difference_little() -> None:
    calm = [1.0 + 0.01 * (i % 5) for i in range(40)]
    spiked = [4.0 if i == 7 else ms for i, ms in enumerate(calm)]
    assert difference(spiked, calm[::-1]).mean == pytest.approx(0, abs=0.005)
    assert difference(spiked[:8], calm[:8]).mean == pytest.approx(0, abs=0.005)


def test_drift_is_no_difference() -> None:
    drift = [1 + i / 20 for i in range(40)]
    slower = [1.01 * level for level in drift]
    assert difference(slower, drift).mean == pytest.approx(0.01, abs=0.002)


def test_a_coarse_timer_loses_nothing() -> None:
    # 2.1 steps against 2: in one pass of ten the timer shows one step more.
    one = [3.0 if i % 10 == 0 else 2.0 for i in range(400)]
    assert difference(one, [2.0] * 400).mean == pytest.approx(0.05, abs=0.001)


def test_each_too_slow_for_another_still_has_a_winner() -> None:
    finals = Finals([0, 1], tie=-0.5, sure=3, fine=1e-4)
    for _ in range(30):
        finals.add({0: 1.0, 1: 1.1})
    assert finals.judge()
    assert finals.winner() == 0
