"""How the demo's kernels are tuned: what they are keyed by, which candidates, and how timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import triton

from ...tuning.quantiles import quantile

INTERPRETED: bool = bool(triton.knobs.runtime.interpret)
"""Whether kernels decorated from here on run in Triton's interpreter (``TRITON_INTERPRET=1``)."""

# The budget that Triton's own benchmarker gives to one candidate, in milliseconds. Its warm-up
# is one launch here: nothing is compiled and there is no clock to ramp up.
_BUDGET_MS = 100.0
# Fewer repetitions than this say little on a machine that does other things as well.
_FEWEST, _MOST = 5, 40


def size_class(n: int) -> int:
    """The power of four that `n` falls into, at least 16.

    Kernels are keyed by this instead of the number of tokens. Otherwise every new prompt length
    would tune all of them again, and without it the first prompt would decide for all lengths.
    """
    size = 16
    while size < n:
        size *= 4
    return size


def interpreted_count(n: int) -> int:
    """`n` under the interpreter, 0 on a GPU: a loop count for a ``tl.constexpr`` argument.

    On a GPU a kernel works its loop count out from a runtime value, so that one compiled variant
    serves every length. The interpreters of Triton 3.4 and 3.6 cannot do that with NumPy 2.4 and
    later ("only 0-dimensional arrays can be converted"), so there the caller does it.
    """
    return n if INTERPRETED else 0


def wall_clock(
    launch: Callable[[], object], quantiles: Sequence[float] = (0.5, 0.2, 0.8)
) -> list[float]:
    """Time `launch` by wall clock; return its `quantiles` in milliseconds.

    The interpreter has no driver and so no benchmarker of its own; this one stands in for it. A
    launch returns when all of its programs have run, so no synchronisation is needed.
    """
    launch()
    times: list[float] = []
    spent = 0.0
    while len(times) < _FEWEST or (spent < _BUDGET_MS and len(times) < _MOST):
        start = time.perf_counter()
        launch()
        times.append((time.perf_counter() - start) * 1e3)
        spent += times[-1]
    times.sort()
    return [quantile(times, q) for q in quantiles]


benchmarker = wall_clock if INTERPRETED else None
"""What the kernels give to ``triton.autotune(do_bench=...)``; on a GPU Triton's own is used."""
