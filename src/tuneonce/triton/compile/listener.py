"""Tells compiles from disk loads through Triton's compilation listener, passing every call on."""

from __future__ import annotations

import sys
import threading
from typing import Any

from ...events.log import EventLog

_spent = threading.local()


def compile_seconds() -> float:
    """Seconds this thread has spent compiling so far, as Triton's own timer counts them."""
    return getattr(_spent, "seconds", 0.0)


class CompileListener:
    """Stands in ``knobs.compilation.listener``, a single slot; what was there is called first."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._before: Any = None
        self._on = False
        self._placed = False

    def install(self) -> None:
        self._on = True
        slot = _slot()
        if slot is not None and not self._placed:
            self._before = slot.listener
            slot.listener = self
            self._placed = True

    def uninstall(self) -> None:
        """Put back the one that was there; if ours was wrapped since, it stays and passes on."""
        self._on = False
        slot = _slot()
        if slot is not None and slot.listener is self:
            slot.listener = self._before
            self._placed = False

    def __call__(self, **call: Any) -> Any:
        result = self._before(**call) if self._before is not None else None
        if not self._on:
            return result
        try:
            seconds = call["times"].total / 1e6
            if not call["cache_hit"]:
                _spent.seconds = compile_seconds() + seconds
            kernel = getattr(call.get("src"), "name", None) or call["metadata"].get("name", "?")
            self._events.emit(
                "load" if call["cache_hit"] else "compile",
                kernel=str(kernel),
                seconds=round(seconds, 6),
            )
        except (KeyError, AttributeError, TypeError):  # a listener call of another version
            self._events.emit("problem", what="listener_call", detail=",".join(call))
        return result


def _slot() -> Any:
    return getattr(sys.modules.get("triton.knobs"), "compilation", None)
