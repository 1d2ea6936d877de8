"""Events around a program's launches: read when the device is past them, never waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

from tuneonce.triton.kernel import nvml
from tuneonce.triton.measure import launch_events as module
from tuneonce.triton.measure.launch_events import Lane, LaunchEvents, tells_times


@dataclass
class Device:
    """What is sent takes a time of its own; the device is at `now`, behind what was sent."""

    sent_ms: float = 0.0
    now: float = 0.0
    events: list[Event] = field(default_factory=list)
    stream: int = 0
    looked_up: int = 0

    def current_stream(self) -> str:
        self.looked_up += 1
        return f"stream {self.stream}"

    def Event(self, *, enable_timing: bool) -> Event:
        assert enable_timing
        self.events.append(Event(self))
        return self.events[-1]

    def launch(self, ms: float) -> None:
        self.sent_ms += ms

    def synchronize(self) -> None:
        raise AssertionError("nobody waits")


@dataclass
class Event:
    device: Device
    at: float = -1.0
    stream: str | None = None

    def record(self, stream: str | None = None) -> None:
        self.at, self.stream = self.device.sent_ms, stream

    def query(self) -> bool:
        return self.at <= self.device.now

    def elapsed_time(self, other: Event) -> float:
        return other.at - self.at

    def synchronize(self) -> None:
        raise AssertionError("nobody waits")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(module.drivers, "active", lambda: None)
    monkeypatch.setattr(module.drivers, "device_interface", lambda driver: made)
    monkeypatch.setattr(module.drivers, "current_stream", lambda device: made.stream)
    return made


def launched(lane: Lane[str], device: Device, name: str, ms: float) -> bool:
    pair = lane.begin()
    if pair is None:
        return False
    device.launch(ms)
    lane.end(pair, name)
    return True


def lane(most: int = 8) -> Lane[str]:
    return LaunchEvents[str](most).of(0)


def test_times_come_once_the_device_is_past_them(device: Device) -> None:
    events = lane()
    launched(events, device, "a", 2.0)
    launched(events, device, "b", 3.0)
    assert events.finished() is None
    device.now = 2.0
    assert events.finished() == ("a", 2.0)
    assert events.finished() is None
    device.now = 9.0
    assert events.finished() == ("b", 3.0)
    assert events.finished() is None


def test_events_are_used_again_and_bounded(device: Device) -> None:
    events = lane(most=3)
    for round in range(20):
        assert launched(events, device, "x", 1.0), round
        device.now = device.sent_ms
        assert events.finished() == ("x", 1.0)
    assert len(device.events) == 2
    assert [launched(events, device, "x", 1.0) for _ in range(5)] == [True] * 3 + [False] * 2
    device.now = device.sent_ms
    assert events.finished() == ("x", 1.0)
    assert launched(events, device, "x", 1.0)


def test_a_launch_that_was_none_costs_no_event(device: Device) -> None:
    events = lane(most=1)
    for _ in range(3):
        pair = events.begin()
        assert pair is not None
        events.give_back(pair)
    assert events.finished() is None
    assert len(device.events) == 2
    assert launched(events, device, "x", 1.0)


def test_both_events_of_a_launch_are_on_its_stream_which_is_looked_up_once(device: Device) -> None:
    events = lane()
    for stream in (0, 7, 0, 7):
        device.stream = stream
        assert launched(events, device, "x", 1.0)
    streams = [event.stream for event in device.events]
    assert streams == [f"stream {stream}" for stream in (0, 0, 7, 7, 0, 0, 7, 7)]
    assert device.looked_up == 2


def test_torchs_module_may_have_no_streams(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "current_stream", None)
    events = lane()
    assert launched(events, device, "x", 1.0)
    assert [event.stream for event in device.events] == [None, None]
    device.now = device.sent_ms
    assert events.finished() == ("x", 1.0)


def test_each_device_has_its_own(device: Device) -> None:
    events = LaunchEvents[str]()
    launched(events.of(0), device, "a", 1.0)
    launched(events.of(1), device, "b", 1.0)
    device.now = 2.0
    assert events.of(1).finished() == ("b", 1.0)
    launched(events.of(0), device, "c", 1.0)
    assert len(device.events) == 6  # those of device 1 are free, and of no use
    assert events.of(0).finished() == ("a", 1.0)


def test_a_child_has_none_of_its_parents(device: Device) -> None:
    events = LaunchEvents[str]()
    launched(events.of(0), device, "a", 1.0)
    device.now = 2.0
    events.renew()
    assert events.of(0).finished() is None


def test_where_events_tell_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    autotuner: Any = SimpleNamespace()
    monkeypatch.setattr(module, "whose_benchmark", lambda autotuner: "tritons")
    monkeypatch.setattr(module.probing, "missing", lambda feature: ())
    assert tells_times(autotuner)
    with monkeypatch.context() as patch:
        patch.setattr(nvml, "is_confidential", lambda: True)
        assert not tells_times(autotuner)
    with monkeypatch.context() as patch:
        patch.setattr(module.probing, "missing", lambda feature: ("an event",))
        assert not tells_times(autotuner)
    for whose in ("own", "drivers"):
        monkeypatch.setattr(module, "whose_benchmark", lambda autotuner, whose=whose: whose)
        assert not tells_times(autotuner)
