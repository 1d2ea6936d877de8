"""Times single launches on the device, as Triton's ``do_bench`` does.

Cold L2: a buffer is overwritten before every timed launch. The buffer is Triton's (256 MiB), or
smaller where that much is not free, down to none; it is the only device memory that measuring
takes, besides the copies that ``restore_value`` asks for, and it is given back at the end of a key,
or at once when anything else runs out of memory.

A launch is timed between two events, and if the device reaches the first before this process has
sent the kernel, it waits, and that wait is timed: a few microseconds of Python, on a busy machine
milliseconds. So the device is kept busy for longer than a launch takes to send, and a launch that
may have come too late is timed again. Short kernels could not be told apart otherwise.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..seams import drivers, probing
from ..seams.seam import Feature
from .benchmark import whose_benchmark
from .result import device_failure

Call = Callable[[], Any]

# The device has at least so much to do when a launch is sent, in seconds: sending one takes 0.05 to
# 0.1 ms on a server's processor. Longer stalls are found out.
_LEAD_S = 0.00025
# Flushes for one launch, however short they are. Arbitrary.
_MOST = 16
# How often late launches are timed again: on a machine that stalls all the time there is no end.
_AGAIN = 2
# Flushes to find out how long one takes. The first of them may find an idle device at a low clock.
_TRIED = 8


class DeviceTimer:
    """The device's timing: events around single launches, a buffer against a warm cache."""

    def __init__(self, driver: Any, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._driver = driver
        self._clock = clock
        self._interface = drivers.device_interface(driver)
        self._buffer = _flush_buffer(driver)
        self._events: list[tuple[Any, Any]] = []
        self._flush_s: float | None = None
        self._least: dict[Call, float] = {}

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
        times, late = self._time(calls)
        for _ in range(_AGAIN):
            if not late:
                break
            again, still = self._time([calls[i] for i in late])
            for place, (i, ms) in enumerate(zip(late, again, strict=True)):
                # What is late can only take longer.
                times[i] = min(times[i], ms) if place in still else ms
            late = [late[place] for place in still]
        for call, ms in zip(calls, times, strict=True):
            self._least[call] = min(ms, self._least.get(call, math.inf))
        return times

    def _time(self, calls: Sequence[Call]) -> tuple[list[float], list[int]]:
        """The times, and which launches the device may have waited for."""
        pairs = self._pairs(len(calls))
        late: list[int] = []
        busy_until = 0.0
        for i, (call, (begin, end)) in enumerate(zip(calls, pairs, strict=True)):
            if self._buffer is not None:
                busy_until = self._flush(max(busy_until, self._clock()))
            begin.record()
            call()
            end.record()
            if self._buffer is not None and self._flush_s:
                if self._clock() > busy_until:
                    late.append(i)
                busy_until += self._least.get(call, 0.0) / 1000
        self.synchronize()
        return [float(begin.elapsed_time(end)) for begin, end in pairs], late

    def _flush(self, busy_until: float) -> float:
        """Overwrite the buffer, as often as it takes; until when the device is busy then."""
        flush_s = self._seconds_of_a_flush()
        missing = _LEAD_S - (busy_until - self._clock())
        count = min(max(1, math.ceil(missing / flush_s)), _MOST) if flush_s else 1
        for _ in range(count):
            drivers.flush(self._driver, self._buffer)
        return busy_until + count * flush_s

    def _seconds_of_a_flush(self) -> float:
        """0 where flushes take no time that could be told."""
        if self._flush_s is None:
            [(begin, end)] = self._pairs(1)
            drivers.flush(self._driver, self._buffer)
            begin.record()
            for _ in range(_TRIED):
                drivers.flush(self._driver, self._buffer)
            end.record()
            self.synchronize()
            self._flush_s = max(0.0, float(begin.elapsed_time(end))) / 1000 / _TRIED
        return self._flush_s

    def _pairs(self, count: int) -> list[tuple[Any, Any]]:
        while len(self._events) < count:
            event = self._interface.Event
            self._events.append((event(enable_timing=True), event(enable_timing=True)))
        return self._events[:count]


def _flush_buffer(driver: Any) -> Any:
    """A buffer to overwrite; smaller where memory is short, None where there is none at all."""
    try:
        return drivers.flush_buffer(driver)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    torch: Any = sys.modules.get("torch")
    for mib in (128, 64, 32):  # the largest L2 there is has 126 MiB, the usual ones 40 to 60
        try:
            device = drivers.torch_device(driver)
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


def timer_for(autotuner: Any) -> DeviceTimer | None:
    """How to time launches here; None if a benchmark function that is not Triton's must do it."""
    if whose_benchmark(autotuner) != "tritons" or probing.missing(Feature.DEVICE_TIMER):
        return None
    return DeviceTimer(drivers.active())
