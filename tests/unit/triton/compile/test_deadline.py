"""Code that runs in bounds of time."""

from __future__ import annotations

import threading

import pytest

from tuneonce.triton.compile.deadline import Overdue, deadline


def test_a_loop_without_end_ends() -> None:
    with pytest.raises(Overdue), deadline(0.05):
        while True:
            try:
                pass
            except Exception:
                pytest.fail("what runs inside must not catch it")


def test_in_time_nothing_happens() -> None:
    done = 0
    for _ in range(50):
        with deadline(60):
            done += 1
    assert done == 50


def test_nothing_comes_up_later() -> None:
    """However close the end is to the bound."""
    overdue = 0
    for _ in range(300):
        try:
            with deadline(0.0005):
                sum(range(2000))
        except Overdue:
            overdue += 1
        sum(range(2000))  # must not be interrupted
    assert 0 <= overdue <= 300


def test_errors_pass_through() -> None:
    with pytest.raises(KeyError), deadline(60):
        raise KeyError


def test_other_threads_are_left_alone() -> None:
    stop, steps = threading.Event(), 0

    def work() -> None:
        nonlocal steps
        while not stop.is_set():
            steps += 1

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(Overdue), deadline(0.02):
        while True:
            pass
    before = steps
    while steps == before:
        pass
    stop.set()
    thread.join()
