"""Signals that end the benchmark, held back while a server is between two states.

An exception out of a signal handler can strike between the birth of a child and the line that
remembers it, or in the middle of ending it. So those places defer it, and nothing else does.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(KeyboardInterrupt):
    """The benchmark was asked to end; `signum` says how. What it started is cleaned up."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


class Interrupts:
    """While entered, the first signal raises `Interrupted` in the main thread, once.

    Later signals only set `impatient`: clean-up then stops being polite instead of being cut
    short. Signals that were ignored on entry stay ignored (``nohup``, background jobs of a shell).
    Outside of the main thread, where Python delivers no signals, entering does nothing.
    """

    def __init__(self) -> None:
        self.impatient = False
        self._signum: int | None = None
        self._raised = False
        self._deferred = 0
        self._instead: Callable[[], object] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if kind is None:
            self.check()

    @property
    def asked(self) -> bool:
        """Whether a signal came, raised or not."""
        return self._signum is not None

    def check(self) -> None:
        """Raise `Interrupted` if a signal came that has not been raised yet."""
        if self._signum is not None and not self._raised:
            self._raised = True
            raise Interrupted(self._signum)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold a signal back until the block ends; an exception of the block goes first."""
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1
        if not self._deferred:
            self.check()

    @contextlib.contextmanager
    def diverted(self, callback: Callable[[], object]) -> Iterator[None]:
        """Call `callback` for a signal within the block, which then ends itself; raise after it.

        For event loops, where an exception out of a handler lands in whichever task is running.
        """
        self._instead = callback
        try:
            yield
        finally:
            self._instead = None

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:
            self.impatient = True
            return
        self._signum = signum
        if self._instead is not None:
            self._instead()
        elif not self._deferred:
            self.check()
