"""Launches the candidates of one session: what Triton would hand to a benchmark.

A kernel's own benchmark function, or a driver's that is not Triton's, is not for us to replace:
`timing_for` then says None, and every candidate is measured by that function once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from math import inf
from typing import Any

from ..compile.compile_errors import is_passed_over
from ..kernel.session import Session
from ..seams import autotuners, benchmarks, errors
from .device_timer import Call, DeviceTimer, out_of_memory, timer_for


def kernel_calls(
    autotuner: Any, args: Sequence[Any], kwargs: Mapping[str, Any], configs: Sequence[Any]
) -> list[Call] | None:
    """What Triton would hand to a benchmark for each of `configs`, hooks and all.

    None if this autotuner's ``_bench`` asks no benchmark function. Raises what ``_bench`` raises.
    """
    calls: list[Call] = []

    def keep(call: Call, quantiles: Any) -> list[float]:
        calls.append(call)
        return [float("inf")] * 3

    with benchmarks.replaced(autotuner, keep):
        for count, config in enumerate(configs, start=1):
            autotuners.bench(autotuner, args, config, kwargs)
            if len(calls) != count:
                return None
    return calls


def timing_for(session: Session) -> tuple[DeviceTimer, list[Call]] | None:
    """How to time single launches of each candidate; None: ``_bench`` must do it by itself."""
    timer = timer_for(session.autotuner)
    if timer is None:
        return None
    calls = kernel_calls(session.autotuner, session.args, session.kwargs, session.candidates)
    return None if calls is None else (timer, calls)


class Runner:
    """The candidates of one key as `tuning.race` wants them.

    `failures` says by position why a candidate cannot run; those that are in it already are not
    launched. `on_failure(position)` hears of each at once, and `reported` are those.

    Stock Triton passes over a candidate that does not fit into the chip's resources; here one that
    does not fit into the memory that is free is passed over, too, and one on which the compiler
    fails in whatever way (`uncompilable`). `on_failure` does not hear of those: whether it was the
    candidate's fault is known at the end. The first launch of each is made within
    `launching(position)`, by `first(position, call)`.

    `on_error(position, error)` hears of other errors before they end the tuning.
    """

    def __init__(
        self,
        timer: DeviceTimer,
        calls: Sequence[Call],
        *,
        failures: dict[int, str],
        clock: Callable[..., Any] = lambda *positions, loading=False: nullcontext(),
        on_error: Callable[[int, Exception], None],
        on_failure: Callable[[int], None] = lambda candidate: None,
        launching: Callable[[int], Any] = lambda candidate: nullcontext(),
        first: Callable[[int, Call], Any] = lambda candidate, call: call(),
    ) -> None:
        self._timer = timer
        self._calls = calls
        self._failures = failures
        self._clock = clock
        self._on_failure = on_failure
        self._on_error = on_error
        self._launching = launching
        self._first = first
        self.reported: set[int] = set()
        self.uncompilable: set[int] = set()
        self._short_of_memory: set[int] = set()

    @property
    def doubtful(self) -> set[int]:
        """Those of which it is not known whether it was their fault, unless another one runs."""
        return self.uncompilable | self._short_of_memory

    def ready(self, candidate: int) -> bool:
        """Load the candidate and launch it once. False: it cannot run."""
        if candidate in self._failures:
            self._tell(candidate)
            return False

        def launch() -> None:
            self._first(candidate, self._calls[candidate])
            self._timer.synchronize()

        try:
            with self._clock(candidate, loading=True), self._launching(candidate):
                self._twice(launch)
        except Exception as error:
            if not self._passes_over(candidate, error):
                raise
            return False
        return True

    def sample(self, order: Sequence[int]) -> list[float]:
        """Milliseconds of one launch of each, in this order; infinite: it does not run any more."""
        calls = [self._calls[candidate] for candidate in order]
        try:
            with self._clock(*order):
                return self._twice(lambda: self._timer.time(calls))
        except Exception as error:
            if len(set(order)) == 1:
                if not self._passes_over(order[0], error):
                    raise
                return [inf] * len(order)
            # Several were in flight: whose error it was is not known, unless it can be repeated.
            if not _is_passed_over(error):
                raise
        times: list[float] = []
        for candidate in order:
            times += self.sample([candidate]) if candidate not in self._failures else [inf]
        return times

    def _twice(self, launch: Callable[[], Any]) -> Any:
        """Launch, and once more with all memory that there is."""
        try:
            return launch()
        except Exception as error:
            if not out_of_memory(error):
                raise
        # Outside of the except clause, whose traceback holds what was allocated.
        self._timer.release()
        return launch()

    def _passes_over(self, candidate: int, error: Exception) -> bool:
        """Put a candidate out of the race; False for an error that ends the tuning.

        It is raised where it was caught: a frame in its own traceback that names it is a cycle.
        """
        if not _is_passed_over(error):
            self._on_error(candidate, error)
            return False
        self._failures[candidate] = f"{type(error).__name__}: {error}"
        if out_of_memory(error):
            self._short_of_memory.add(candidate)
        elif not isinstance(error, errors.passed_over()):
            self.uncompilable.add(candidate)
        else:
            self._tell(candidate)
        return True

    def _tell(self, candidate: int) -> None:
        if candidate not in self.reported:
            self.reported.add(candidate)
            self._on_failure(candidate)


def _is_passed_over(error: Exception) -> bool:
    return is_passed_over(error) or out_of_memory(error)
