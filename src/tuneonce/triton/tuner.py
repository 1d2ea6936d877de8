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
from dataclasses import dataclass
from typing import Any, Literal

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
        result: Any = None
        try:
            result = timings[config] = autotuner._bench(*args, config=config, **kwargs)
        except Exception as error:
            result = Broken(error)
            raise
        finally:
            if result is not None:
                spent = time.perf_counter() - began
                on_measured(position, result, spent, compile_seconds() - compiled)
    winner = builtins.min(timings, key=_comparable(timings) if known else timings.__getitem__)
    autotuner.bench_time = time.time() - start
    autotuner.nargs = nargs
    return timings, winner


@dataclass(frozen=True)
class Broken:
    """In a result's place: the benchmark ended with an error that stock lets through."""

    error: Exception


def _comparable(timings: Mapping[Any, Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Results of an earlier process may be lists where this one's benchmark returns numbers."""

    def times(config: Any) -> tuple[Any, ...]:
        result = timings[config]
        return tuple(result) if isinstance(result, (list, tuple)) else (result,)

    return times


# Errors of the device by the names of their classes, and by how the messages of others begin. A
# candidate that caused one may do so again, and a context that it has killed takes the process
# along; what else a benchmark raises says nothing about the candidate.
_DEVICE_ERRORS = frozenset({"OutOfMemoryError", "AcceleratorError"})
_DEVICE_MESSAGES = ("CUDA error", "Triton Error [CUDA]", "HIP error", "Triton Error [HIP]")


def device_failure(error: Exception) -> str | None:
    """Why a candidate must not be tried again for a while; None if it may be."""
    text = str(error).strip()
    if type(error).__name__ in _DEVICE_ERRORS or text.startswith(_DEVICE_MESSAGES):
        return f"{type(error).__name__}: {text.partition(chr(10))[0][:200]}"
    return None


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
    """A benchmark's result as a record; None for a result that is no time (NaN, not a number).

    A `Broken` candidate is a record only if it was the device that failed.
    """
    times: tuple[float, ...] = ()
    shape: Literal["list", "tuple", "scalar"] = "list"
    failed: str | None = None
    if isinstance(result, Broken):
        failed = device_failure(result.error)
        if failed is None:
            return None
    else:
        if isinstance(result, (list, tuple)):
            shape, values = ("tuple" if isinstance(result, tuple) else "list"), tuple(result)
        else:
            shape, values = "scalar", (result,)
        try:
            times = tuple(float(value) for value in values if not isinstance(value, str))
        except (TypeError, ValueError, OverflowError):
            return None
        if len(times) != len(values) or not times:
            return None
        if all(math.isinf(t) and t > 0 for t in times):
            times, failed = (), "did not run"
        elif not all(math.isfinite(t) for t in times):
            return None
    return Measurement(
        candidate=candidate,
        config=list(config),
        times=times,
        shape=shape,
        failed=failed,
        method=method,
        work_class=work_class,
        measured_at=time.time(),
        seconds=seconds,
        compile_s=compile_s,
    )
