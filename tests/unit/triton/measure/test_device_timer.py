"""Timing of launches on a device that works through a queue, and a processor that fills it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("triton")

from tuneonce.triton.measure import device_timer as module
from tuneonce.triton.measure.device_timer import DeviceTimer

US = 1e-6


@dataclass
class Machine:
    """A clock for the processor, and the time at which the device has done what it was sent."""

    flush_s: float = 65 * US
    buffer: Any = "buffer"
    now: float = 100.0
    done: float = 0.0
    flushes: int = 0
    launches: list[str] = field(default_factory=list)

    def work(self, seconds: float) -> None:
        self.done = max(self.now, self.done) + seconds

    # What a driver and torch's module for a device offer.

    def get_device_interface(self) -> Machine:
        return self

    def get_empty_cache_for_benchmark(self) -> Any:
        return self.buffer

    def clear_cache(self, buffer: Any) -> None:
        assert buffer == self.buffer
        self.now += 10 * US
        self.flushes += 1
        self.work(self.flush_s)

    def Event(self, *, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)

    def synchronize(self) -> None:
        self.now = max(self.now, self.done) + 5 * US

    def kernel(
        self, name: str, ms: float, *, sent_in: float = 60 * US, stalls: Iterable[float] = ()
    ) -> Callable[[], None]:
        """A launch. Each takes one of `stalls` in seconds, as long as there are any, to be sent."""
        left = iter(stalls)

        def launch() -> None:
            self.now += sent_in + next(left, 0.0)
            self.launches.append(name)
            self.work(ms / 1000)

        return launch


@dataclass
class Event:
    machine: Machine
    at: float = math.nan

    def record(self) -> None:
        self.machine.now += 5 * US
        self.machine.work(0.0)
        self.at = self.machine.done

    def elapsed_time(self, end: Event) -> float:
        return 1000 * (end.at - self.at)


def timing(machine: Machine) -> DeviceTimer:
    return DeviceTimer(machine, clock=lambda: machine.now)


@pytest.mark.parametrize("sent_in", [20 * US, 60 * US, 150 * US])
def test_the_device_never_waits_for_a_launch(sent_in: float) -> None:
    machine = Machine()
    one = machine.kernel("one", 0.006, sent_in=sent_in)
    other = machine.kernel("other", 0.02, sent_in=sent_in)
    assert timing(machine).time([one, other] * 50) == pytest.approx([0.006, 0.02] * 50)
    assert len(machine.launches) == 100


def test_no_more_flushes_than_that_takes() -> None:
    machine = Machine()
    device = timing(machine)
    device.time([machine.kernel("short", 0.006)] * 100)
    assert machine.flushes < 220
    before = machine.flushes
    slow = machine.kernel("slow", 0.5)
    device.time([slow])
    device.time([slow] * 100)
    assert machine.flushes - before < 115


def test_a_launch_that_was_late_is_timed_again() -> None:
    machine = Machine()
    one = machine.kernel("one", 0.006, stalls=[0.0, 0.0, 5e-3, 0.0, 12e-3, 1e-3])
    other = machine.kernel("other", 0.02)
    times = timing(machine).time([one, other] * 10)
    assert times == pytest.approx([0.006, 0.02] * 10)
    assert machine.launches.count("one") == 13
    assert machine.launches.count("other") == 10


def test_a_late_launch_that_the_device_did_not_wait_for_is_not_repeated() -> None:
    machine = Machine()
    slow = machine.kernel("slow", 50.0, stalls=[0.0, 0.0, 10e-3, 10e-3])
    device = timing(machine)
    assert device.time([slow]) == pytest.approx([50.0])
    assert device.time([slow] * 3) == pytest.approx([50.0] * 3)
    assert len(machine.launches) == 4


def test_a_machine_that_always_stalls_gives_the_least_it_saw() -> None:
    machine = Machine()
    one = machine.kernel("one", 0.006, stalls=[9e-3, 5e-3, 7e-3, *[3e-3] * 9])
    [ms] = timing(machine).time([one])
    assert len(machine.launches) == 1 + module._AGAIN
    assert 4.5 < ms < 5.5


@pytest.mark.parametrize("flush_s", [0.0, 2 * US])
def test_flushes_that_take_no_time_are_few(flush_s: float) -> None:
    machine = Machine(flush_s=flush_s)
    timing(machine).time([machine.kernel("one", 0.006)] * 10)
    assert len(machine.launches) <= 10 * (1 + module._AGAIN)
    assert machine.flushes <= module._MOST * len(machine.launches) + module._TRIED + 1


def test_without_a_buffer_there_is_nothing_to_be_busy_with() -> None:
    machine = Machine()
    device = timing(machine)
    device.release()
    one = machine.kernel("one", 0.006)
    assert device.time([one] * 3) == pytest.approx([0.066] * 3)
    assert machine.flushes == 0
    assert len(machine.launches) == 3
