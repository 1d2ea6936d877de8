"""Levels: by how much the logarithm of a candidate's time is above that of another.

Times of launches of several sizes, taken at several clocks, have a level in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median

from .finals import difference
from .quantiles import quantile
from .race import RULES, Summary

# A mean difference may be as low as minus one, by noise.
_LEAST = 1e-3


@dataclass
class Excess:
    """What launches took beyond what others would have taken: in launches of those, and in ms."""

    launches: float = 0.0
    ms: float = 0.0

    def add(self, above: float, ms: float) -> None:
        """A launch took `ms`, and is so much (a level) above what would have run."""
        if above > 0:
            self.launches += exp(above) - 1
            self.ms += ms * (1 - exp(-above))


def summary(ordered: Sequence[float], base: float) -> Summary:
    """Levels in ascending order as times in milliseconds; `base` is the logarithm of level 0."""
    p20, p50, p80 = (exp(base + quantile(ordered, q)) for q in (0.2, 0.5, 0.8))
    return Summary(median_ms=p50, p20_ms=p20, p80_ms=p80, samples=len(ordered), round=0)


def gain(
    times: Mapping[int, Sequence[float]], levels: Mapping[int, float], of: int, over: int
) -> float | None:
    """The share of its time that a launch saves with one candidate instead of another: by passes,
    if there are any of both, else by their levels; None where one of them is not known."""
    if of == over:
        return 0.0
    if of not in levels or over not in levels:
        return None
    if min(len(times.get(of, ())), len(times.get(over, ()))) >= RULES.judged_at:
        return 1 - 1 / max(1 + difference(times[over], times[of]).mean, _LEAST)
    return 1 - exp(levels[of] - levels[over])


def level_beside(
    times: Mapping[int, Sequence[float]], levels: Mapping[int, float], candidate: int
) -> float | None:
    """The level of a candidate by passes, if those that it ran beside have kept theirs.

    None without passes enough.
    """
    own = times.get(candidate, ())
    if candidate not in levels or not own:
        return None
    found = [
        levels[p] + log(max(1 + difference(own, others).mean, _LEAST))
        for p, others in times.items()
        if p != candidate and p in levels and len(others) >= RULES.judged_at
    ]
    return median(found) if found else None
