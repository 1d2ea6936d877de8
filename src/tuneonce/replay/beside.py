"""Making ready beside the first requests, in programs that do not say when their start-up is over.

A kernel is touched only when the program has launched it: what it reads is fixed from then on. The
work is done when nothing new was met for a while, by threads of the lowest claim: they hold the
interpreter a moment at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..system.forks import renew_in_child
from ..system.greenlets import patched_by
from ..system.threads import start_thread

# Seconds in which nothing new is met: the program does now what it will go on doing. Arbitrary.
_QUIET_S = 1.0

# What is met later (other kernels are launched) is looked at so often, at most. Arbitrary.
_ROUNDS = 8


class Beside:
    """Calls `warm` in a thread, once the program is quiet; again when it has met something new."""

    def __init__(self, warm: Callable[[], Any], *, quiet_s: float = _QUIET_S) -> None:
        self._warm, self._quiet_s = warm, quiet_s
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, which has no such thread."""
        self._starting = threading.Lock()
        self._stirred_at = 0.0
        self._stirred = threading.Event()
        self._ended = threading.Event()

    def stir(self) -> None:
        """The program has met something new. Returns at once."""
        self._stirred_at = time.monotonic()
        self._stirred.set()
        if self._ended.is_set() or patched_by() is not None:
            return
        if self._starting.acquire(blocking=False):  # and never released: there is one thread
            try:
                start_thread(self._run, name="tuneonce-beside")
            except RuntimeError:  # no more threads
                self._ended.set()

    def end(self) -> None:
        """Do nothing any more: the program has said that it is ready."""
        self._ended.set()
        self._stirred.set()

    def _run(self) -> None:
        ended, stirred = self._ended, self._stirred
        for _ in range(_ROUNDS):
            stirred.wait()
            while (left := self._stirred_at + self._quiet_s - time.monotonic()) > 0:
                if ended.wait(left):
                    return
            stirred.clear()
            if ended.is_set():
                return
            self._warm()
