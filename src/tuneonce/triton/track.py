"""Launches candidates and times single launches, as Triton's ``do_bench`` does.

Cold L2: a buffer is overwritten before every timed launch. The buffer is Triton's (256 MiB), or
smaller where that much is not free, down to none; it is the only device memory that measuring
takes, besides the copies that ``restore_value`` asks for, and it is given back at the end of a key,
or at once when anything else runs out of memory.

A kernel's own benchmark function, or a driver's that is not Triton's, is not for us to replace:
`timing_for` then says None, and every candidate is measured by that function once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any

from . import compat
from .calls import Cold
from .outcome import device_failure

Call = Callable[[], Any]


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

    with _benchmark(autotuner, keep):
        for count, config in enumerate(configs, start=1):
            autotuner._bench(*args, config=config, **kwargs)
            if len(calls) != count:
                return None
    return calls


@contextmanager
def _benchmark(autotuner: Any, function: Callable[..., Any]) -> Any:
    """``autotuner.do_bench`` is `function`; the caller holds the autotuner's lock."""
    own = vars(autotuner)
    before = own.get("do_bench")
    own["do_bench"] = function
    try:
        yield
    finally:
        if before is None:
            own.pop("do_bench", None)
        else:
            own["do_bench"] = before


class Device:
    """The device's timing: events around single launches, a buffer against a warm cache."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._interface = driver.get_device_interface()
        self._buffer = _flush_buffer(driver)
        self._events: list[tuple[Any, Any]] = []

    def synchronize(self) -> None:
        self._interface.synchronize()

    def release(self) -> None:
        """Give back all memory that measuring can do without; from here on L2 may be warm."""
        self._buffer = None
        # What torch keeps for itself is not free for Triton, which loads kernels without it.
        empty_cache = getattr(self._interface, "empty_cache", None)
        if empty_cache is not None:
            with contextlib.suppress(RuntimeError):
                empty_cache()

    def time(self, calls: Sequence[Call]) -> list[float]:
        """Milliseconds of one launch of each, in this order, all in flight together."""
        while len(self._events) < len(calls):
            event = self._interface.Event
            self._events.append((event(enable_timing=True), event(enable_timing=True)))
        pairs = self._events[: len(calls)]
        for call, (begin, end) in zip(calls, pairs, strict=True):
            if self._buffer is not None:
                self._driver.clear_cache(self._buffer)
            begin.record()
            call()
            end.record()
        self.synchronize()
        return [float(begin.elapsed_time(end)) for begin, end in pairs]


def _flush_buffer(driver: Any) -> Any:
    """A buffer to overwrite; smaller where memory is short, None where there is none at all."""
    try:
        return driver.get_empty_cache_for_benchmark()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    torch: Any = sys.modules.get("torch")
    for mib in (128, 64, 32):  # the largest L2 there is has 126 MiB, the usual ones 40 to 60
        try:
            device = driver.get_active_torch_device()
            return torch.empty(mib << 18, dtype=torch.int32, device=device)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
    return None


def out_of_memory(error: Exception) -> bool:
    """Whether the device had too little memory, as torch or the driver says it."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return device_failure(error) is not None and "out of memory" in str(error)


def device_for(autotuner: Any) -> Device | None:
    """How to time launches here; None if a benchmark function of somebody's must do it."""
    if autotuner.__dict__.get("_do_bench") is not None:
        return None
    from triton.runtime.driver import driver

    active = driver.active
    if active.get_benchmarker() is not getattr(sys.modules.get("triton.testing"), "do_bench", None):
        return None
    return Device(active)


def timing_for(cold: Cold, pruned: Sequence[Any]) -> tuple[Device, list[Call]] | None:
    """How to time single launches of each of `pruned`; None: ``_bench`` must do it by itself."""
    device = device_for(cold.autotuner)
    if device is None:
        return None
    calls = kernel_calls(cold.autotuner, cold.args, cold.kwargs, pruned)
    return None if calls is None else (device, calls)


class Track:
    """The candidates of one key as `tuneonce.race` wants them.

    `failures` says by position why a candidate cannot run; those that are in it already are not
    launched. `on_failure(position)` hears of each at once, and `told` are those.

    Stock Triton passes over a candidate that does not fit into the chip's resources; here one that
    does not fit into the memory that is free is passed over, too. `short_of_memory` are those, and
    `on_failure` does not hear of them: whether it was the candidate's fault is known at the end.

    `on_error(position, error)` hears of other errors before they end the tuning.
    """

    def __init__(
        self,
        device: Device,
        calls: Sequence[Call],
        *,
        failures: dict[int, str],
        clock: Callable[..., Any],
        on_error: Callable[[int, Exception], None],
        on_failure: Callable[[int], None] = lambda candidate: None,
    ) -> None:
        self._device = device
        self._calls = calls
        self._failures = failures
        self._clock = clock
        self._on_failure = on_failure
        self._on_error = on_error
        self.told: set[int] = set()
        self._passed_over = compat.passed_over()
        self.short_of_memory: set[int] = set()

    def ready(self, candidate: int) -> bool:
        """Load the candidate and launch it once. False: it cannot run."""
        if candidate in self._failures:
            self._tell(candidate)
            return False

        def launch() -> None:
            self._calls[candidate]()
            self._device.synchronize()

        try:
            with self._clock(candidate, loading=True):
                self._twice(launch)
        except Exception as error:
            self._passes_over(candidate, error)
            return False
        return True

    def sample(self, order: Sequence[int]) -> list[float]:
        """Milliseconds of one launch of each, in this order; infinite: it does not run any more."""
        calls = [self._calls[candidate] for candidate in order]
        try:
            with self._clock(*order):
                return self._twice(lambda: self._device.time(calls))
        except Exception as error:
            if len(set(order)) == 1:
                self._passes_over(order[0], error)
                return [inf] * len(order)
            # Several were in flight: whose error it was is not known, unless it can be repeated.
            if not self._is_passed_over(error):
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
        self._device.release()
        return launch()

    def _is_passed_over(self, error: Exception) -> bool:
        return isinstance(error, self._passed_over) or out_of_memory(error)

    def _passes_over(self, candidate: int, error: Exception) -> None:
        """Put a candidate out of the race; raises errors that end the tuning."""
        if not self._is_passed_over(error):
            self._on_error(candidate, error)
            raise error
        self._failures[candidate] = f"{type(error).__name__}: {error}"
        if out_of_memory(error):
            self.short_of_memory.add(candidate)
        else:
            self._tell(candidate)

    def _tell(self, candidate: int) -> None:
        if candidate not in self.told:
            self.told.add(candidate)
            self._on_failure(candidate)
