"""Which candidate of a key really is the fastest, and what a verdict that says otherwise costs.

Every candidate has a first look, as it arrives from the compiler. The verdict's winner and all
candidates within twice the time of the fastest are then launched side by side, in changing order,
in many more passes than a tuning spends. If another candidate than the winner seems to be the
fastest, the two run once more by themselves, and only this second comparison is reported: the
fastest of many was partly lucky. Where the kernel's author, or a driver, has a benchmark function
of its own, that measures each candidate three times, and the least result counts.

As in `tuning.race`, nothing here compiles or launches, and times are in milliseconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import median, quantiles
from typing import Any

from .finals import FEW, USUAL, Finals, centre, difference
from .race import RULES, Runner

# Passes over all that are near, and again over the two that are left. Forty passes of a quiet GPU
# (1.4 % from launch to launch) have a standard error of 0.2 %, a tenth of the tie.
PASSES = 40
# Seconds of one key: so many for all that are near, so many for the two. Arbitrary: a model with a
# hundred keys is checked within ten minutes.
NEAR_S, PAIR_S = 3.5, 1.5
# So many passes are taken even beyond these seconds.
LEAST_PASSES = 5
# A candidate this many times as slow as the fastest at first look is not measured again.
NEAR = 2.0
LOOK_SAMPLES = 3
BENCHMARKS = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of one key; candidates by their position in the list.

    `regret`: how much slower the verdict's winner is than the `fastest`, as a share of that one's
    time, 0 if it is the fastest; `noise`: what may be wrong with that number, at three standard
    errors. `best` is the candidate that a tuning should choose: the first of the list within the
    tie of the fastest.

    `results` are what a benchmark would have returned for each that ran: the median, the 20th and
    the 80th percentile. `samples` says of how many; 0 where a benchmark does not.
    """

    winner: int
    fastest: int
    best: int
    regret: float
    noise: float
    passes: int
    results: Mapping[int, Any]
    samples: Mapping[int, int]

    @property
    def wrong(self) -> bool:
        """Whether the verdict is proven to be wrong."""
        return self.best != self.winner and self.regret > RULES.tie + self.noise


# -- by launches side by side --------------------------------------------------------------------


def side_by_side(
    winner: int,
    arrivals: Iterable[int],
    runner: Runner,
    random: Random,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Finding | None:
    """Compare by single launches. None: the winner does not run."""
    times: dict[int, list[float]] = {}
    for candidate in arrivals:
        if not runner.ready(candidate):
            continue
        times[candidate] = _sample(runner, [candidate])
        if times[candidate][0] < 2 * NEAR * _least(times):
            times[candidate] += _sample(runner, [candidate] * (LOOK_SAMPLES - 1))
    if winner not in times:
        return None
    near = _near(times, winner)
    finals = _passes(near, runner, random, clock, NEAR_S)
    times.update(finals.times)
    by_speed = sorted(near, key=lambda c: (centre(finals.times[c]), c))
    fastest = by_speed[0]
    best = finals.winner()
    regret = noise = 0.0
    if fastest != winner:
        pair = _passes([winner, fastest], runner, random, clock, PAIR_S).times
        regret, noise = _regret(pair[winner], pair[fastest])
    elif len(near) > 1:
        _, noise = _regret(finals.times[winner], finals.times[by_speed[1]])
    return Finding(
        winner=winner,
        fastest=fastest,
        best=fastest if best is None else best,
        regret=regret,
        noise=noise,
        passes=finals.passes,
        results={c: _quantiles(samples) for c, samples in times.items()},
        samples={c: len(samples) for c, samples in times.items()},
    )


def _passes(
    candidates: Sequence[int],
    runner: Runner,
    random: Random,
    clock: Callable[[], float],
    seconds: float,
) -> Finals:
    finals = Finals(candidates, tie=RULES.tie, sure=RULES.sure, fine=RULES.fine)
    began = clock()
    order: list[int] = []
    while finals.passes < PASSES:
        if finals.passes >= LEAST_PASSES and clock() - began > seconds:
            break
        # Backwards after forwards: clocks that drift evenly over both hit all alike.
        odd = finals.passes % 2
        order = order[::-1] if odd else random.sample(list(candidates), len(candidates))
        finals.add(dict(zip(order, _sample(runner, order), strict=True)))
    return finals


def _sample(runner: Runner, order: Sequence[int]) -> list[float]:
    return [max(ms, RULES.least_ms) for ms in runner.sample(order)]


def _regret(winner: Sequence[float], fastest: Sequence[float]) -> tuple[float, float]:
    """How much slower the first is, no less than 0; and three standard errors of that."""
    found = difference(winner, fastest)
    spread = found.spread
    if found.passes < FEW:
        spread = max(spread, USUAL) * (1 + 4 / found.passes)
    return max(found.mean, 0.0), RULES.sure * spread / math.sqrt(found.passes)


def _least(times: Mapping[int, Sequence[float]]) -> float:
    return min(min(samples) for samples in times.values())


def _near(times: Mapping[int, Sequence[float]], winner: int) -> list[int]:
    """The candidates that are near the fastest, and the winner of the verdict."""
    far = NEAR * _least(times)
    return sorted({c for c, samples in times.items() if min(samples) <= far} | {winner})


def _quantiles(samples: Sequence[float]) -> list[float]:
    """Median, 20th and 80th percentile, interpolated as `triton.testing` does."""
    if len(samples) < 2:
        return [samples[0]] * 3
    fifths = quantiles(samples, n=5, method="inclusive")
    return [median(samples), fifths[0], fifths[3]]


# -- by a benchmark function of the kernel's author ----------------------------------------------


def benchmarked(
    winner: int, arrivals: Iterable[int], bench: Callable[[int], Any], random: Random
) -> Finding | None:
    """Compare by the least of three benchmarks each. None: the winner does not run.

    `bench(candidate)` returns a time, or a list of them with the median in front; infinite for a
    candidate that does not run. Raises what it raises, and ValueError or TypeError where it gives
    no time.
    """
    times: dict[int, list[float]] = {}
    results: dict[int, Any] = {}
    for candidate in arrivals:
        result = bench(candidate)
        if math.isfinite(ms := _first(result)):
            times[candidate], results[candidate] = [ms], result
    if winner not in times:
        return None
    near = _near(times, winner)
    for _ in range(BENCHMARKS - 1):
        for candidate in random.sample(near, len(near)):
            result = bench(candidate)
            ms = _first(result)
            if ms < min(times[candidate]):
                results[candidate] = result
            times[candidate].append(ms)
    least = {c: min(times[c]) for c in near}
    fastest = min(near, key=lambda c: (least[c], c))
    return Finding(
        winner=winner,
        fastest=fastest,
        best=next(c for c in near if least[c] <= least[fastest] * (1 + RULES.tie)),
        regret=least[winner] / least[fastest] - 1,
        noise=max(_unsteadiness(times[c]) for c in {winner, fastest}),
        passes=BENCHMARKS,
        results=results,
        samples=dict.fromkeys(results, 0),
    )


def _unsteadiness(times: Sequence[float]) -> float:
    """How far the two least of several results are apart."""
    return min((b / a - 1 for a, b in pairwise(sorted(times)[:2]) if a), default=0.0)


def _first(result: Any) -> float:
    """The median of what a benchmark returned."""
    values = result if isinstance(result, (list, tuple)) else [result]
    ms = float(values[0]) if values else math.nan
    if math.isnan(ms) or ms < 0:
        raise ValueError(f"a benchmark gave no time: {result!r}")
    return max(ms, RULES.least_ms)
