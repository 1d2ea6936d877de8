"""Looks, at the first launch of a kernel that was made ready before it, whether it still is that.

Until its first launch a program may set what a kernel reads, and stock Triton would compile it as
it is then. So a kernel that was made ready unlaunched has a hook of ours for its first launch: if
the kernel is another by now, what was made ready is taken back, and the launch finds the kernel as
it would have been.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ..events.log import EventLog
from ..triton.kernel.identity import Fingerprint, fingerprint
from ..triton.seams import compiled, digests, kernels

_ours = threading.local()


@contextlib.contextmanager
def making_ready() -> Iterator[None]:
    """Launches of this thread inside are none of the program's."""
    before = getattr(_ours, "on", False)
    _ours.on = True
    try:
        yield
    finally:
        _ours.on = before


class Unlaunched:
    """A kernel that the program has not launched yet, from before it is touched.

    Raises ValueError where nobody could see that it has become another.
    """

    def __init__(self, jit: Any, events: EventLog) -> None:
        found = fingerprint(jit)
        if found is None:
            raise ValueError("its code may change unnoticed")
        self._jit, self._events = jit, events
        self._was: Fingerprint = found
        self._undigested = [kernel for kernel in found.kernels if not kernels.is_digested(kernel)]
        self._before = {key for key, _ in compiled.in_memory(jit)}

    def guard(self) -> None:
        """Have its first launch look."""

        def look(*args: Any, **kwargs: Any) -> None:
            if getattr(_ours, "on", False):
                return
            kernels.remove_run_hook(self._jit, look)
            if self._is_as_it_was():
                digests.fix(self._jit)
            else:
                self._take_back()

        kernels.add_run_hook(self._jit, look)

    def _is_as_it_was(self) -> bool:
        now = fingerprint(self._jit)
        if now is None or now.digest != self._was.digest:
            return False
        return all(digests.unchanged(kernel) for kernel in self._undigested)

    def _take_back(self) -> None:
        compiled.forget(self._jit, self._before)
        for kernel in self._undigested:
            digests.forget(kernel)
        name = getattr(self._jit, "__name__", "?")
        self._events.emit(
            "problem", what="kernel_has_changed", detail=f"{name}: since it was ready"
        )
