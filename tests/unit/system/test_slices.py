"""Work that rests now and then, and leaves a program's profiler alone."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tuneonce.system.slices import REST_S, WORK_S, hurried, in_slices


class Clock:
    """Time that passes when it is looked at, by a quarter of a slice, and in sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rests: list[float] = []

    def __call__(self) -> float:
        self.now += WORK_S / 4
        return self.now

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds


def called(times: int) -> int:
    return sum(abs(-1) for _ in range(times))


def test_it_rests_after_each_slice() -> None:
    clock = Clock()
    with in_slices(clock=clock, sleep=clock.sleep):
        assert called(100) == 100
    assert set(clock.rests) == {REST_S}
    assert 20 <= len(clock.rests) <= 200
    rests = len(clock.rests)
    called(100)
    assert len(clock.rests) == rests
    assert sys.getprofile() is None


def test_it_does_not_rest_while_somebody_waits_for_what_it_holds() -> None:
    clock = Clock()
    with in_slices(clock=clock, sleep=clock.sleep):
        with hurried():
            before = len(clock.rests)
            called(100)
            assert len(clock.rests) == before
        called(100)
    assert len(clock.rests) >= before + 20


def test_an_error_ends_it() -> None:
    clock = Clock()
    with pytest.raises(ZeroDivisionError), in_slices(clock=clock, sleep=clock.sleep):
        1 / 0  # noqa: B018
    assert sys.getprofile() is None


def test_a_thread_that_is_profiled_is_left_alone() -> None:
    clock = Clock()
    seen: list[str] = []

    def profiler(frame: Any, event: str, argument: Any) -> None:
        seen.append(event)

    sys.setprofile(profiler)
    try:
        with in_slices(clock=clock, sleep=clock.sleep):
            called(100)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert clock.rests == []
    assert len(seen) > 100
