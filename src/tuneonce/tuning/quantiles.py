"""Quantiles of samples, as they are recorded.

`statistics.quantiles` gives the same but for the last bits of a number, and records keep those.
"""

from __future__ import annotations

from collections.abc import Sequence


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-th quantile of samples in ascending order, interpolated as `triton.testing` does."""
    point = q * (len(ordered) - 1)
    lower = int(point)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (point - lower)
