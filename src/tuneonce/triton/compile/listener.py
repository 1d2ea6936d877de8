"""Tells compiles from disk loads through Triton's compilation listener, passing every call on.

`on_variant(source, binary)` hears of each variant that is not merely tried (`trial`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...events.log import EventLog
from ..seams import listeners, probing
from ..seams.seam import Feature

_spent = threading.local()
_trial = threading.local()


@contextmanager
def trial() -> Iterator[None]:
    """What this thread compiles inside is tried, and may never be launched again."""
    before = getattr(_trial, "on", False)
    _trial.on = True
    try:
        yield
    finally:
        _trial.on = before


def compile_seconds() -> float:
    """Seconds this thread has spent compiling so far, as Triton's own timer counts them."""
    return getattr(_spent, "seconds", 0.0)


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

    def uninstall(self) -> None:
        """Put back the one that was there; if ours was wrapped since, it stays and passes on."""
        self._on = False
        if listeners.of_compiler() is self:
            listeners.set_of_compiler(self._before)
            self._placed = False

    def __call__(self, **call: Any) -> Any:
        result = self._before(**call) if self._before is not None else None
        if not self._on:
            return result
        try:
            said = listeners.read_call(call)
            if not said.loaded:
                _spent.seconds = compile_seconds() + said.seconds
            self._events.emit(
                "load" if said.loaded else "compile",
                kernel=said.kernel,
                seconds=round(said.seconds, 6),
            )
            if self._on_variant is not None and not getattr(_trial, "on", False):
                self._on_variant(call["src"], said.binary)
        except (KeyError, AttributeError, TypeError):  # a listener call of another version
            self._events.emit("problem", what="listener_call", detail=",".join(call))
        return result
