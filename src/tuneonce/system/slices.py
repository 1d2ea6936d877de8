"""Python code that runs a little at a time, so that other threads hardly wait for the interpreter.

A thread that needs the interpreter while another one computes gets it after five milliseconds
(``sys.getswitchinterval``), and again after each call that gives it up, as the launch of a kernel
does. So what computes for tens of milliseconds beside a server's launches holds each of them up for
as long. A thread that rests after a fifth of a millisecond does so for that long.

It does not rest while somebody waits for what it holds (`hurried`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .forks import renew_in_child

# Seconds. Arbitrary: what a few launches take; and a tenth of the interpreter's time at most.
WORK_S, REST_S = 0.0002, 0.002


class _Waiting:
    """Who waits for what a thread in slices holds."""

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, in which no other thread waits."""
        self.now: set[object] = set()


_waiting = _Waiting()


@contextmanager
def hurried() -> Iterator[None]:
    """Inside, no thread rests: this one waits for what another one holds."""
    one, now = object(), _waiting.now
    now.add(one)
    try:
        yield
    finally:
        now.discard(one)


@contextmanager
def in_slices(
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Have this thread rest between two calls of Python's whenever it has worked for long enough.

    Only what calls and returns is interrupted: one long call of an extension is not. Where the
    thread is profiled already, it is left alone. The frame that enters must be the one that leaves.
    """
    if sys.getprofile() is not None:
        yield
        return
    resumed = clock()

    def look(frame: Any, event: str, argument: Any) -> None:
        nonlocal resumed
        if clock() - resumed >= WORK_S and not _waiting.now:
            sleep(REST_S)
            resumed = clock()

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)
