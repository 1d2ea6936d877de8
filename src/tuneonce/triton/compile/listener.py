"""Tells compiles, disk loads and module loads apart, as Triton makes them, passing every call on.

Triton has a slot for a listener of its compiler, and chains that are called before and after a
module is loaded onto a device (at the first launch of a variant). Both are called in the thread
that compiles or loads: a launch's, which waits for it, or one of ours, behind which nobody does.
`on_variant(source, binary)` hears of each variant that is not merely tried (`trial`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...events.log import EventLog
from ..seams import listeners, probing
from ..seams.seam import Feature

# What all threads of ours are called, behind which no launch waits.
_OURS = "tuneonce-"


class _Thread(threading.local):
    """One thread: the seconds it has spent, what it is within, and the module that it loads."""

    compile_s = 0.0
    load_s = 0.0
    within: str | None = None
    trial = False
    loading: tuple[Any, float] | None = None


_thread = _Thread()


@contextmanager
def trial() -> Iterator[None]:
    """What this thread compiles inside is tried, and may never be launched again."""
    before, _thread.trial = _thread.trial, True
    try:
        yield
    finally:
        _thread.trial = before


def compile_seconds() -> float:
    """Seconds this thread has spent compiling so far, as Triton's own timer counts them."""
    return _thread.compile_s


def loading_seconds() -> float:
    """Seconds this thread has spent on finding binaries on disk and loading modules so far."""
    return _thread.load_s


@contextmanager
def within(what: str) -> Iterator[None]:
    """What this thread compiles and loads inside is told again in an event of this name.

    That one has the seconds that a launch waited.
    """
    before, _thread.within = _thread.within, what
    try:
        yield
    finally:
        _thread.within = before


class CompileListener:
    """Stands in ``knobs.compilation.listener``, a single slot; what was there is called first."""

    def __init__(
        self, events: EventLog, *, on_variant: Callable[[Any, str], None] | None = None
    ) -> None:
        self._events = events
        self._on_variant = on_variant
        self._before: Any = None
        self._on = False
        self._placed = False

    def install(self) -> None:
        self._on = True
        if not self._placed and not probing.missing(Feature.COMPILE_TIMES):
            self._before = listeners.of_compiler()
            self._placed = listeners.set_of_compiler(self)
        if not probing.missing(Feature.MODULE_LOADS):
            listeners.hear_module_loads(self._load_begins, self._load_ends)

    def uninstall(self) -> None:
        """Put back the one that was there; if ours was wrapped since, it stays and passes on."""
        self._on = False
        listeners.forget_module_loads(self._load_begins, self._load_ends)
        if listeners.of_compiler() is self:
            listeners.set_of_compiler(self._before)
            self._placed = False

    def __call__(self, **call: Any) -> Any:
        result = self._before(**call) if self._before is not None else None
        if not self._on:
            return result
        try:
            said = listeners.read_call(call)
        except (KeyError, AttributeError, TypeError):  # a listener call of another version
            self._events.emit("problem", what="listener_call", detail=",".join(call))
            return result
        if said.loaded:
            _thread.load_s += said.seconds
        else:
            _thread.compile_s += said.seconds
        self._tell("load" if said.loaded else "compile", said.kernel, said.seconds)
        if self._on_variant is not None and not _thread.trial:
            self._on_variant(call.get("src"), said.binary)
        return result

    # Bound methods compare equal, so that Triton's chains know them again. They raise nothing: it
    # would end the launch.

    def _load_begins(self, *call: Any, **more: Any) -> None:
        _thread.loading = (listeners.read_module_load(call), time.perf_counter())

    def _load_ends(self, *call: Any, **more: Any) -> None:
        # One that began and did not fit the device has no end.
        began, _thread.loading = _thread.loading, None
        module = listeners.read_module_load(call)
        if not self._on or began is None or began[0] != module:
            return
        seconds = time.perf_counter() - began[1]
        _thread.load_s += seconds
        self._tell("module_load", module[0], seconds)

    def _tell(self, event: str, kernel: str, seconds: float) -> None:
        inside = {} if _thread.within is None else {"within": _thread.within}
        waited = not threading.current_thread().name.startswith(_OURS)
        self._events.emit(event, kernel=kernel, seconds=round(seconds, 6), waited=waited, **inside)
