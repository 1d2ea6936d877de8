"""Calls that the caller waits for until a deadline, even if the call itself never returns."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .forks import renew_in_child
from .greenlets import patched_by
from .headroom import SPARED, room_for_processes

T = TypeVar("T")

# A thread that was not used for so long ends. Arbitrary: a server's start is made of bursts.
_IDLE_S = 10.0


def start_thread(
    target: Callable[..., Any], *, name: str, args: tuple[Any, ...] = ()
) -> threading.Thread:
    """A thread that does not keep the process alive, and runs.

    Raises RuntimeError where there may be no more of them, or so few that the program needs them.
    """
    room = room_for_processes()
    if room is not None and room < SPARED:
        raise RuntimeError(f"only {room} more threads are allowed here")
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread


class Overdue(Exception):
    """A call has not returned by its deadline. It is still under way."""


class _Call:
    """One call, and its result or error. `done` is locked until the call has returned."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def make(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:
            self.error = error
        self.done.release()


class BoundedCalls:
    """Makes calls in threads of its own, which are kept for a while. Thread-safe.

    A call takes about 30 microseconds more than without.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, which has none of these threads."""
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[_Call]] = []
        self._overdue: list[_Call] = []

    def __call__(self, function: Callable[[], T], seconds: float) -> T:
        """What `function` returns or raises. Raises Overdue after so many seconds.

        It is called in this thread where none can be started: while the interpreter ends, or where
        there may be no more of them; and in a program whose threads are greenlets.
        """
        if patched_by() is not None:
            return function()
        call = _Call(function)
        with self._lock:
            calls = self._idle.pop() if self._idle else None
        if calls is None:
            calls = queue.SimpleQueue()
            try:
                start_thread(self._work, name="tuneonce-call", args=(calls,))
            except RuntimeError:
                return function()
        calls.put(call)
        if not call.done.acquire(timeout=seconds):
            with self._lock:
                self._overdue = [c for c in self._overdue if c.done.locked()] + [call]
            raise Overdue(f"no answer within {seconds:g} s")
        if call.error is not None:
            try:
                raise call.error
            finally:
                del call  # which its traceback holds
        result: T = call.result
        return result

    def wait(self, seconds: float) -> bool:
        """Wait until all calls have come back, but no longer than that. Whether they have."""
        by = time.monotonic() + seconds
        for call in self._overdue:  # a list that is replaced, and never changed
            if not call.done.acquire(timeout=max(0.0, by - time.monotonic())):
                return False
            call.done.release()
        return True

    def _work(self, calls: queue.SimpleQueue[_Call]) -> None:
        lock, idle = self._lock, self._idle
        while True:
            try:
                call = calls.get(timeout=_IDLE_S)
            except queue.Empty:
                with lock:
                    if calls in idle:
                        idle.remove(calls)
                        return
                call = calls.get()  # it was taken this very moment
            call.make()
            del call
            with lock:
                idle.append(calls)
