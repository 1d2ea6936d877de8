"""A bound on the time that Python code takes, where nothing else can bound it.

For code that is generated because a record says so: one constant of it can make a loop of a
thousand million steps.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Overdue(BaseException):
    """It took too long. Not an Exception, which a code generator passes on as an error of its."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `Overdue` in what runs inside, between two steps of Python, after so many seconds."""
    thread = threading.get_ident()
    raised = threading.Event()

    def interrupt() -> None:
        raised.set()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread), ctypes.py_object(Overdue)
        )

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    error: BaseException | None = None
    try:
        yield
    except BaseException as caught:
        error = caught
    came_up = isinstance(error, Overdue)
    while timer.is_alive():  # nothing is raised any more when it has ended
        try:
            timer.cancel()
            timer.join()
        except Overdue:
            came_up = True
    if raised.is_set():
        # It is not taken back, after which Python 3.11 would look for it for ever.
        with suppress(Overdue):
            while not came_up:
                time.sleep(0.001)
        raise Overdue
    if error is not None:
        raise error
