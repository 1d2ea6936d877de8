"""What became of one candidate on the device, and the record that is made of it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...model.records import Measurement


@dataclass(frozen=True)
class Broken:
    """In a value's place: the benchmark ended with an error that stock lets through."""

    error: Exception


@dataclass
class Result:
    """One candidate's result.

    `value` is what a benchmark returned, or the quantiles of a race's samples. `settled`: it will
    not be measured again in this tuning. `samples` is 0 where a benchmark function does not say.
    `failed` says why it did not run, where that is known.
    """

    value: Any
    samples: int = 0
    settled: bool = True
    failed: str | None = None
    seconds: float = 0.0
    compile_s: float = 0.0


# Errors of the device by the names of their classes, and by how the messages of others begin. A
# candidate that caused one may do so again, and a context that it has killed takes the process
# along; what else a benchmark raises says nothing about the candidate.
_DEVICE_ERRORS = frozenset({"OutOfMemoryError", "AcceleratorError"})
_DEVICE_MESSAGES = ("CUDA error", "Triton Error [CUDA]", "HIP error", "Triton Error [HIP]")


def device_failure(error: Exception) -> str | None:
    """Why a candidate must not be tried again for a while; None if it may be."""
    text = str(error).strip()
    if type(error).__name__ in _DEVICE_ERRORS or text.startswith(_DEVICE_MESSAGES):
        return first_line(f"{type(error).__name__}: {text}")
    return None


def first_line(text: str) -> str:
    """A reason as records keep it."""
    return text.strip().partition("\n")[0][:200]


def as_measurement(
    result: Result,
    *,
    candidate: str,
    config: Sequence[tuple[str, list[Any]]],
    method: str,
    work_class: str,
) -> Measurement | None:
    """A result as a record; None for a result that is no time (NaN, not a number).

    A `Broken` candidate is a record only if it was the device that failed.
    """
    times: tuple[float, ...] = ()
    shape: Literal["list", "tuple", "scalar"] = "list"
    failed: str | None = None
    value = result.value
    if isinstance(value, Broken):
        failed = device_failure(value.error)
        if failed is None:
            return None
    else:
        if isinstance(value, (list, tuple)):
            shape, values = ("tuple" if isinstance(value, tuple) else "list"), tuple(value)
        else:
            shape, values = "scalar", (value,)
        try:
            times = tuple(float(time_ms) for time_ms in values if not isinstance(time_ms, str))
        except (TypeError, ValueError, OverflowError):
            return None
        if len(times) != len(values) or not times:
            return None
        if all(math.isinf(t) and t > 0 for t in times):
            times, failed = (), first_line(result.failed or "did not run")
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
        seconds=result.seconds,
        compile_s=result.compile_s,
        samples=result.samples,
        settled=result.settled,
    )
