"""Candidates whose times drift apart and together with the size, as those of kernels on a GPU do.

From one class of sizes to the next (four times the work) the logarithm of each candidate's time,
relative to the others, makes a step of its own: 4 % in the median, and now and then far more.
Within a class and between two it is a straight line. Everything comes from a seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random


def drifting(seed: int, candidates: int, classes: int) -> list[list[float]]:
    """By class, how far each candidate is behind the best there, as a logarithm."""
    r = Random(f"drifting {seed}")
    levels = [r.expovariate(1 / 0.3) for _ in range(candidates)]
    found = []
    for _ in range(classes):
        found.append(_behind(levels))
        levels = [level + _step(r) for level in levels]
    return found


def at(levels: Sequence[Sequence[float]], place: float) -> list[float]:
    """The same between two classes: `place` counts classes from the middle of the first one."""
    last = len(levels) - 1
    low = min(max(math.floor(place), 0), max(last - 1, 0))
    share = min(max(place - low, 0.0), 1.0)
    pairs = zip(levels[low], levels[min(low + 1, last)], strict=True)
    return _behind([a + share * (b - a) for a, b in pairs])


def _step(r: Random) -> float:
    wide = 0.045 * math.exp(r.gauss(0, 0.7))
    return r.choice((-1, 1)) * r.expovariate(1 / wide)


def _behind(levels: Sequence[float]) -> list[float]:
    best = min(levels)
    return [level - best for level in levels]
