"""Measures the candidates of one key as stock Triton does, except those that are known already.

What stock does and is kept: ``_bench`` for each candidate in order, the winner by the least times
with ties to the first, ``reset_to_zero`` after the last candidate, ``bench_time`` and
``configs_timings`` on the autotuner. Each result is handed out the moment it exists.
"""

from __future__ import annotations

import builtins
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..records import Measurement
from .listen import compile_seconds

OnMeasured = Callable[[int, Any, float, float], None]


def tune(
    autotuner: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    pruned: Sequence[Any],
    *,
    known: Mapping[int, Measurement],
    on_measured: OnMeasured,
) -> tuple[dict[Any, Any], Any]:
    """Return ``configs_timings`` over `pruned`, and the winner, one of `pruned`.

    `known` holds measurements by position. `on_measured(position, result, seconds, compile_s)` is
    called after each candidate that was measured here. Raises what ``_bench`` raises.
    """
    start = time.time()
    timings: dict[Any, Any] = {}
    nargs = autotuner.nargs
    for position, config in enumerate(pruned):
        if position in known:
            timings[config] = known[position].as_timing()
            continue
        # Again for each: a ``warmup`` of the same kernel in another thread resets it.
        autotuner.nargs = nargs
        began, compiled = time.perf_counter(), compile_seconds()
        timings[config] = autotuner._bench(*args, config=config, **kwargs)
        spent = time.perf_counter() - began
        on_measured(position, timings[config], spent, compile_seconds() - compiled)
    winner = builtins.min(timings, key=timings.__getitem__)
    autotuner.bench_time = time.time() - start
    autotuner.nargs = nargs
    return timings, winner


def reset(autotuner: Any, kwargs: Mapping[str, Any], winner: Any) -> None:
    """Clear what the measured launches have left in the caller's buffers, as stock Triton does.

    Runs the autotuner's pre-hook, which is the program's and may raise: after the winner is kept.
    """
    full_nargs = {**autotuner.nargs, **kwargs, **winner.all_kwargs()}
    autotuner.pre_hook(full_nargs, reset_only=True)


def as_measurement(
    result: Any,
    *,
    candidate: str,
    config: Sequence[tuple[str, list[Any]]],
    method: str,
    work_class: str,
    seconds: float,
    compile_s: float,
) -> Measurement | None:
    """A benchmark's result as a record; None for a result that is no time (NaN, not a number)."""
    if isinstance(result, (list, tuple)):
        shape, values = ("tuple" if isinstance(result, tuple) else "list"), tuple(result)
    else:
        shape, values = "scalar", (result,)
    if not values or not all(isinstance(value, (int, float)) for value in values):
        return None
    try:
        times = tuple(float(value) for value in values)
    except OverflowError:  # an integer beyond any time
        return None
    failed = "did not run" if all(math.isinf(t) and t > 0 for t in times) else None
    if failed is None and not all(math.isfinite(t) for t in times):
        return None
    return Measurement(
        candidate=candidate,
        config=list(config),
        times=() if failed else times,
        shape=shape,  # type: ignore[arg-type]
        failed=failed,
        method=method,
        work_class=work_class,
        measured_at=time.time(),
        seconds=seconds,
        compile_s=compile_s,
    )
