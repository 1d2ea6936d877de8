"""Turns at Python's interpreter: a tuning goes first, work that can wait goes in between.

Generating code is Python under the interpreter's lock. A tuning that meets another thread's code
generation waits for it at every launch, and what it times is wrong. So work that can wait is done
in pieces, each while no key is tuned or while the tuning thread waits for a compiler.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from ...system.forks import renew_in_child
from ...system.slices import hurried

# Waiting is bounded: a piece that hangs must not hang a launch. Arbitrary: a piece takes tens of
# milliseconds, with hundreds for the largest kernels.
_PATIENCE_S = 1.0


class _Turn:
    """One tuning or piece. Only the frame that takes it holds it: it ends with that, at the latest.

    So nothing is left behind wherever Ctrl-C strikes, between any two instructions.
    """


class InterpreterTurns:
    """Tunings, which may run side by side, against work that can wait."""

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, in which no other thread is alive."""
        self._changed = threading.Condition()
        self._tunings: weakref.WeakSet[_Turn] = weakref.WeakSet()
        self._pieces: weakref.WeakSet[_Turn] = weakref.WeakSet()
        self._here = threading.local()

    @contextmanager
    def tuning(self) -> Iterator[None]:
        """A launch waits for what is done inside. Waits for a piece that is being done."""
        turn, outer = _Turn(), self._innermost()
        try:
            self._here.turn = weakref.ref(turn)
            self._begin(turn)
            yield
        finally:
            self._end(turn)
            self._here.turn = outer

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside `tuning`: nothing is done here but wait."""
        innermost = self._innermost()
        turn = None if innermost is None else innermost()
        try:
            self._end(turn)
            yield
        finally:
            self._begin(turn)

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Work that can wait, and waits until no key is tuned."""
        piece = _Turn()
        with self._changed:
            self._changed.wait_for(lambda: not self._tunings, timeout=_PATIENCE_S)
            self._pieces.add(piece)
        try:
            yield
        finally:
            self._pieces.discard(piece)
            with self._changed:
                self._changed.notify_all()

    def _innermost(self) -> weakref.ref[_Turn] | None:
        """The tuning that this thread is in."""
        return getattr(self._here, "turn", None)

    def _begin(self, turn: _Turn | None) -> None:
        if turn is None:
            return
        with hurried(), self._changed:
            self._tunings.add(turn)
            self._changed.wait_for(lambda: not self._pieces, timeout=_PATIENCE_S)

    def _end(self, turn: _Turn | None) -> None:
        if turn is None:
            return
        self._tunings.discard(turn)
        with self._changed:
            self._changed.notify_all()
