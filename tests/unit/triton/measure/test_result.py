"""What a benchmark returned, as a record: times, failures, and what is neither."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tuneonce.model.records import Measurement
from tuneonce.triton.measure.result import (
    Broken,
    Result,
    as_measurement,
    device_failure,
    first_line,
)


def made(result: Any, **more: Any) -> Measurement | None:
    return as_measurement(
        Result(result, **more),
        candidate="0" * 16,
        config=[("BLOCK", ["int", "64"])],
        method="do_bench",
        work_class="c03",
    )


@pytest.mark.parametrize(
    ("result", "times", "shape"),
    [
        ([1.0, 2.0, 3.0], (1.0, 2.0, 3.0), "list"),
        ((1, 2), (1.0, 2.0), "tuple"),
        (0.5, (0.5,), "scalar"),
    ],
)
def test_times(result: Any, times: tuple[float, ...], shape: str) -> None:
    record = made(result, samples=7, settled=False, seconds=2.0, compile_s=1.0)
    assert record is not None
    assert (record.times, record.shape, record.failed) == (times, shape, None)
    assert (record.samples, record.settled) == (7, False)
    assert (record.seconds, record.compile_s) == (2.0, 1.0)
    assert (record.method, record.work_class) == ("do_bench", "c03")


@pytest.mark.parametrize(
    "result",
    [None, "1.0", [], ["1.0"], [1.0, "x"], [1.0, None], math.nan, -math.inf, [1.0, math.inf],
     [1.0, math.nan], object(), [10**400]],
    ids=lambda value: repr(value)[:14],
)  # fmt: skip
def test_what_is_no_time_is_no_record(result: Any) -> None:
    assert made(result) is None


def test_a_candidate_that_did_not_run() -> None:
    record = made([math.inf] * 3)
    assert record is not None
    assert (record.times, record.failed) == ((), "did not run")
    told = made([math.inf], failed="out of shared memory\nand more")
    assert told is not None
    assert told.failed == "out of shared memory"


class OutOfMemoryError(RuntimeError): ...


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("too much"),
        RuntimeError("CUDA error: an illegal memory access\nmore"),
        RuntimeError("Triton Error [CUDA]: misaligned address"),
        RuntimeError("HIP error: launch failure"),
    ],
    ids=lambda error: str(error).partition("\n")[0],
)
def test_an_error_of_the_device_is_kept_in_one_line(error: Exception) -> None:
    reason = device_failure(error)
    assert reason is not None
    assert "\n" not in reason
    assert reason.startswith(f"{type(error).__name__}: ")
    record = made(Broken(error))
    assert record is not None
    assert (record.times, record.failed) == ((), reason)


def test_an_error_of_something_else_says_nothing_of_the_candidate() -> None:
    for error in (ValueError("no"), RuntimeError("not a CUDA error: really")):
        assert device_failure(error) is None
        assert made(Broken(error)) is None


def test_a_reason_is_short() -> None:
    assert first_line("  " + "x" * 500 + "\nmore") == "x" * 200
    assert first_line("") == ""
