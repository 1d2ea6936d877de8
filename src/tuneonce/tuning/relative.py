"""Times of candidates relative to each other, as one verdict tells them, put beside another's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import TypeVar

C = TypeVar("C", str, int)

# Relative times are bounded by this, because a mean with an infinite one is infinite.
_SLOWEST = 1e9


def bounded(factor: float) -> float:
    return min(max(factor, 1 / _SLOWEST), _SLOWEST)


def relative(times: Mapping[C, float]) -> dict[C, float]:
    """Times in units of the fastest, without those that are no times."""
    usable = {c: t for c, t in times.items() if math.isfinite(t) and t > 0}
    best = min(usable.values(), default=0.0)
    return {c: bounded(t / best) for c, t in usable.items()}


def complete(near: Mapping[C, float], far: Mapping[C, float]) -> Mapping[C, float]:
    """`near`, and the candidates that only `far` has, their times scaled to those of `near`.

    The scale comes from the candidates that both have. Where there is none, `near` alone; where
    that is empty, `far`.
    """
    both = near.keys() & far.keys()
    if not near or not both:
        return near or far
    unit = math.exp(fmean(math.log(near[candidate] / far[candidate]) for candidate in both))
    return {**{candidate: bounded(unit * factor) for candidate, factor in far.items()}, **near}
