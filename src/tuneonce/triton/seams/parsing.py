"""``JITFunction.parse``: one thread at a time, in those versions of Python that need it.

Python 3.11.0 to 3.11.7, 3.12.0 and 3.12.1 count for all threads together how deep a syntax tree is
(python/cpython#106905). A thread that was interrupted while its tree was built, by the garbage
collector and then by another thread that parses, raises SystemError. Threads of ours have Triton
parse kernels beside the program, whose launch must not fail for it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from ...system.forks import renew_in_child
from ...system.slices import hurried
from .kernels import MODULE
from .seam import Feature, Finding, Seam, as_read, can_be_called

# Nothing waits without a bound: a kernel is parsed in milliseconds. Arbitrary.
_PATIENCE_S = 2.0


def is_needed(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> bool:
    """Whether in this version of Python two threads that parse get in each other's way."""
    return (3, 11) <= version < (3, 11, 8) or (3, 12) <= version < (3, 12, 2)


class _Turns:
    """One thread at a time. Reentrant: the collector may call what parses."""

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child."""
        self.lock = threading.RLock()


_turns = _Turns()


def take_turns() -> Callable[[], None]:
    """Have threads parse kernels one after the other, where that is needed; returns how to end it.

    What is parsed, and what is raised, stays as it is.
    """
    kind: Any = sys.modules[MODULE].JITFunction
    stock = getattr(kind, "parse", None)
    if not is_needed() or not callable(stock):
        return _nothing

    def parse(self: Any) -> Any:
        lock = _turns.lock
        held = lock.acquire(blocking=False)
        if not held:
            with hurried():
                held = lock.acquire(timeout=_PATIENCE_S)
        try:
            return stock(self)
        finally:
            if held:
                lock.release()

    # So that others, and we, can tell what is behind it.
    vars(parse)["__wrapped__"] = stock
    kind.parse = parse

    def end() -> None:
        if kind.parse is parse:  # under another's wrapper ours stays
            kind.parse = stock

    return end


def _nothing() -> None:
    pass


def _parses() -> Finding:
    find = can_be_called(MODULE, "JITFunction.parse", "self")
    return find() if is_needed() else as_read(True)


SEAMS = (
    Seam(
        "JITFunction.parse",
        MODULE,
        (Feature.COMPILE_AHEAD, Feature.WARM),
        "is called by one thread at a time, in those versions of Python that need it",
        can_be_called(MODULE, "JITFunction.parse", "self")
        if is_needed()
        else lambda: as_read(True),
        words=("parse",),
    ),
)
