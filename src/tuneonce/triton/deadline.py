"""A bound on the time that Python code takes which nobody else can bound.

For code that is generated because a record says so: one constant of it can make a loop of a
thousand million steps.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Overdue(BaseException):
    """It took too long. Not an Exception, which a code generator passes on as an error of its."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `Overdue` in what runs inside, between two steps of Python, after so many seconds."""
    thread = threading.get_ident()
    lock = threading.Lock()
    inside = True
    raised = False

    def interrupt() -> None:
        nonlocal raised
        with lock:
            if inside:
                raised = True
                _raise_in(thread, Overdue)

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        try:
            with lock:
                inside = False
        finally:
            inside = False
            if raised:
                _raise_in(thread, None)  # if it has not come up yet
            timer.cancel()
    if raised:
        raise Overdue


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Have an error raised in a thread at its next step; None takes it back."""
    wanted = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), wanted)
