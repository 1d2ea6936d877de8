"""What is waited for in sum."""

from __future__ import annotations

import pytest

from tuneonce.system.patience import Patience


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_wait_takes_of_the_same_seconds() -> None:
    clock = Clock()
    one = Patience(2.0, clock=clock)
    with one.waiting() as first:
        clock.now += 0.5
    clock.now += 60.0  # in between it works
    with one.waiting() as second:
        clock.now += 9.0
    with one.waiting() as third:
        pass
    assert (first, second, third, one.left) == (2.0, 1.5, 0.0, 0.0)


def test_a_wait_may_have_a_bound_of_its_own() -> None:
    clock = Clock()
    one = Patience(2.0, clock=clock)
    with one.waiting(0.5) as first:
        clock.now += 1.75
    with one.waiting(0.5) as second:
        pass
    assert (first, second) == (0.5, 0.25)


def test_what_ends_in_an_error_was_waited_for() -> None:
    clock = Clock()
    one = Patience(2.0, clock=clock)
    with pytest.raises(OSError, match="gone"), one.waiting():
        clock.now += 0.75
        raise OSError("gone")
    assert one.left == 1.25
