"""Who uses the interpreter: one thread at a time, and who is waited for goes first.

Generating code is Python under the interpreter's lock. A tuning that meets another thread's code
generation waits for it at every launch, and what it times is wrong. So work that can wait is done
in pieces, each while nobody tunes or while who does has to wait for a compiler.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Nobody waits for ever: a piece that hangs must not hang a launch. Arbitrary: a piece takes tens of
# milliseconds, with hundreds for the largest kernels.
_PATIENCE_S = 1.0


class Turns:
    """Tunings, which may run side by side, against work that can wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tuning = 0
        self._pieces = 0

    @contextmanager
    def tuning(self) -> Iterator[None]:
        """A launch waits for what is done inside. Waits for a piece that is being done."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside `tuning`: nothing is done here but wait."""
        self._end()
        try:
            yield
        finally:
            self._begin()

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Work that can wait, and waits until nobody tunes."""
        with self._changed:
            self._changed.wait_for(lambda: not self._tuning, timeout=_PATIENCE_S)
            self._pieces += 1
        try:
            yield
        finally:
            with self._changed:
                self._pieces -= 1
                self._changed.notify_all()

    def _begin(self) -> None:
        with self._changed:
            self._tuning += 1
            self._changed.wait_for(lambda: not self._pieces, timeout=_PATIENCE_S)

    def _end(self) -> None:
        with self._changed:
            self._tuning -= 1
            self._changed.notify_all()
