"""Who really is the fastest, and what may be said of a winner that is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from tuneonce.tuning.oracle import (
    BENCHMARKS,
    LEAST_PASSES,
    NEAR_S,
    PAIR_S,
    PASSES,
    Finding,
    benchmarked,
    side_by_side,
)


class Track:
    """Candidates with made-up times, noise, and a clock that follows them."""

    def __init__(self, *times: float, noise: float = 0.0, seed: int = 0, drift: float = 0.0):
        self.times, self.noise, self.drift = times, noise, drift
        self.random = Random(seed)
        self.fail: set[int] = set()
        self.launches = [0] * len(times)
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def ready(self, candidate: int) -> bool:
        return candidate not in self.fail

    def sample(self, order: Sequence[int]) -> list[float]:
        found = []
        for candidate in order:
            self.launches[candidate] += 1
            ms = self.times[candidate] * (1 + self.drift * self.now)
            found.append(ms * (1 + self.random.expovariate(1) * self.noise))
            self.now += found[-1] / 1000
        return found

    def find(self, winner: int, seed: int = 0) -> Finding | None:
        arrivals = range(len(self.times))
        return side_by_side(winner, arrivals, self, Random(seed), clock=self.clock)


def found(winner: int, *times: float, **options: Any) -> Finding:
    finding = Track(*times, **options).find(winner)
    assert finding is not None
    return finding


@pytest.mark.parametrize(
    ("winner", "times", "regret", "best", "wrong"),
    [
        (0, [1.0, 1.1, 1.2], 0.0, 0, False),
        (2, [1.0, 1.1, 1.2], 0.2, 0, True),
        (1, [1.0, 1.01, 1.2], 0.01, 0, False),
        (0, [1.01, 1.0, 1.2], 0.01, 0, False),
        (0, [1.03, 1.0, 1.2], 0.03, 1, True),
        (0, [1.5, 1.019, 1.0], 0.5, 1, True),
        (1, [1.0, 5.0], 4.0, 0, True),
        (0, [1.0], 0.0, 0, False),
    ],
)
def test_without_noise(
    winner: int, times: list[float], regret: float, best: int, wrong: bool
) -> None:
    finding = found(winner, *times)
    assert finding.regret == pytest.approx(regret)
    assert finding.noise == pytest.approx(0, abs=1e-9)
    assert (finding.best, finding.wrong, finding.fastest) == (best, wrong, times.index(min(times)))


def test_passes_and_what_is_kept_of_them() -> None:
    track = Track(1.0, 1.1, 2.5, 9.0)
    finding = track.find(0)
    assert finding is not None
    assert finding.passes == PASSES
    assert track.launches == [3 + PASSES, 3 + PASSES, 3, 1]
    assert dict(finding.samples) == {0: PASSES, 1: PASSES, 2: 3, 3: 1}
    assert finding.results[2] == pytest.approx([2.5, 2.5, 2.5])


def test_slow_kernels_have_fewer_passes_within_the_time() -> None:
    track = Track(1000.0, 1500.0)
    finding = track.find(1)
    assert finding is not None
    assert finding.passes == LEAST_PASSES
    assert finding.wrong
    assert finding.noise > 0.01  # five passes do not tell their own spread
    track = Track(100.0, 150.0)
    assert track.find(1) is not None
    assert track.now < 4 * 0.25 + 1.2 * (NEAR_S + PAIR_S)


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.1])
def test_of_equals_none_is_wrong_whatever_the_noise(noise: float) -> None:
    wrong = regrets = 0
    for seed in range(60):
        finding = found(7, *[1.0] * 8, noise=noise, seed=seed)
        wrong += finding.wrong
        regrets += finding.regret > 0.02 + finding.noise
    assert (wrong, regrets) == (0, 0)


def test_the_fastest_of_many_by_luck_is_not_what_is_reported() -> None:
    """Without a second comparison the regret of equals would be the luck of the luckiest."""
    regrets = [found(15, *[1.0] * 16, noise=0.05, seed=seed).regret for seed in range(40)]
    assert sum(regrets) / len(regrets) < 0.01


def test_a_wrong_winner_is_found_through_noise() -> None:
    for seed in range(20):
        finding = found(0, 1.1, 1.0, 1.05, noise=0.02, seed=seed)
        assert finding.wrong
        assert abs(finding.regret - 0.1) < finding.noise + 0.005


def test_drift_hits_all_alike() -> None:
    finding = found(0, 1.0, 1.0, 1.0, drift=1.0)
    assert finding.regret + finding.noise < 0.01


def test_who_does_not_run() -> None:
    track = Track(1.0, 2.0, 0.5)
    track.fail = {2}
    finding = track.find(1)
    assert finding is not None
    assert (finding.fastest, finding.regret) == (0, pytest.approx(1.0))
    assert 2 not in finding.results
    track.fail = {1}
    assert track.find(1) is None


# -- a benchmark of somebody's -------------------------------------------------------------------


def bench_of(*results: list[Any]) -> Callable[[int], Any]:
    return lambda candidate: results[candidate].pop(0)


def test_the_least_of_three() -> None:
    bench = bench_of([2.0, 1.5, 1.6], [1.1, 1.0, 1.2])
    finding = benchmarked(0, [0, 1], bench, Random(0))
    assert finding is not None
    assert (finding.regret, finding.fastest, finding.best) == (0.5, 1, 1)
    assert finding.noise == pytest.approx(0.1)  # 1.0 and 1.1; 1.5 and 1.6 are nearer
    assert finding.wrong
    assert dict(finding.results) == {0: 1.5, 1: 1.0}
    assert dict(finding.samples) == {0: 0, 1: 0}


def test_lists_and_those_far_behind() -> None:
    bench = bench_of([[1.0, 0.9, 1.1]] * 3, [(9.0, 9.0, 9.0)], [[float("inf")] * 3])
    finding = benchmarked(0, [0, 1, 2], bench, Random(0))
    assert finding is not None
    assert (finding.regret, finding.passes, finding.wrong) == (0, BENCHMARKS, False)
    assert dict(finding.results) == {0: [1.0, 0.9, 1.1], 1: (9.0, 9.0, 9.0)}


def test_a_winner_that_does_not_run() -> None:
    bench = bench_of([float("inf")], [1.0])
    assert benchmarked(0, [0, 1], bench, Random(0)) is None


@pytest.mark.parametrize("result", [float("nan"), "fast", [], -1.0])
def test_what_is_no_time(result: Any) -> None:
    with pytest.raises(ValueError, match=r"no time|convert"):
        benchmarked(0, [0], lambda candidate: result, Random(0))
