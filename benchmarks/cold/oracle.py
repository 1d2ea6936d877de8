"""An oracle: every candidate of every key measured long, and more than once.

It stands in ``Autotuner._bench``, where stock Triton measures one candidate. At the first candidate
of a key it measures all of them, in rounds of alternating order so that a slow drift of the clocks
touches all alike, and answers from the medians. So the program runs on with the best candidate.
Who is far behind after one round stays there: there is nothing to tell apart, and GPUs cost time.
"""

from __future__ import annotations

import contextlib
import functools
import math
import statistics
from collections.abc import Iterator
from typing import Any

from child import kernel_name, tuning_key

# Of each measurement, before its `rep_ms`. Twice do_bench's own, arbitrary.
WARMUP_MS = 50
# Before every launch the flush is made as often: a launch is sent in 0.03 to 0.1 ms, in which the
# device must not run out of work, or it is timed waiting for one. do_bench alone leaves 0.06 ms.
FLUSHES = 8
# So many times slower than the best after one round is far behind. Clocks move by a tenth.
FAR = 1.5


class Oracle:
    """`rep_ms` are milliseconds of one measurement of one candidate, of which `rounds` are made."""

    def __init__(self, *, rep_ms: float, rounds: int = 3) -> None:
        self._rep_ms = rep_ms
        self._rounds = rounds
        self._lists: dict[int, list[Any]] = {}
        self._keys: dict[tuple[str, str], dict[str, list[float]]] = {}

    def install(self) -> None:
        """From now on; a process has one oracle and keeps it."""
        from triton.runtime.autotuner import Autotuner

        stock_prune, stock_bench = Autotuner.prune_configs, Autotuner._bench

        def prune(tuner: Any, *args: Any, **kwargs: Any) -> Any:
            self._lists[id(tuner)] = pruned = list(stock_prune(tuner, *args, **kwargs))
            return pruned

        def bench(tuner: Any, *args: Any, config: Any, **meta: Any) -> Any:
            key = label(tuner), tuning_key(tuner, {**tuner.nargs, **meta})
            if key not in self._keys:
                one = functools.partial(self._long, stock_bench, tuner, args, meta)
                self._keys[key] = self._measure(self._lists[id(tuner)], one)
            median = statistics.median(self._keys[key][str(config)])
            return [median, median, median]

        Autotuner.prune_configs, Autotuner._bench = prune, bench

    def _measure(self, candidates: list[Any], one: Any) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {str(config): [] for config in candidates}
        for number in range(self._rounds):
            best = min((min(taken) for taken in times.values() if taken), default=math.inf)
            for config in candidates if number % 2 == 0 else candidates[::-1]:
                taken = times[str(config)]
                if min(taken, default=0.0) <= FAR * best:
                    taken.append(one(config))
        return times

    def _long(self, stock_bench: Any, tuner: Any, args: Any, meta: Any, config: Any) -> float:
        """The median of one candidate in milliseconds, infinite if it cannot run."""
        from triton.runtime.driver import driver

        bench = tuner.do_bench
        # An author's own benchmark stays as it is: it may know why it is short.
        if tuner._do_bench is None:
            long = functools.partial(bench, warmup=WARMUP_MS, rep=self._rep_ms)
            vars(tuner)["do_bench"] = long
        try:
            with busy(driver.active):
                result = stock_bench(tuner, *args, config=config, **meta)
        finally:
            vars(tuner)["do_bench"] = bench
        return float(result[0] if isinstance(result, (list, tuple)) else result)

    def document(self) -> list[dict[str, Any]]:
        """By key, the medians of every candidate in the list's order; none for one that failed."""
        return [
            {
                "kernel": kernel,
                "key": key,
                "candidates": {
                    config: [t for t in times if math.isfinite(t)]
                    for config, times in candidates.items()
                },
            }
            for (kernel, key), candidates in self._keys.items()
        ]


@contextlib.contextmanager
def busy(active: Any) -> Iterator[None]:
    """What flushes the cache of this driver's device once does so `FLUSHES` times."""
    flush = active.clear_cache

    def flush_often(cache: Any) -> None:
        for _ in range(FLUSHES):
            flush(cache)

    active.clear_cache = flush_often
    try:
        yield
    finally:
        active.clear_cache = flush


def label(tuner: Any) -> str:
    """An autotuner by the name that its winners are listed under."""
    return f"{kernel_name(tuner)} of {len(tuner.configs)}"
