"""Does early what the first kernel would wait for and what takes neither a kernel nor a device.

Triton names binaries after a digest of its own installation. It reads hundreds of megabytes for
that, half a second at the first kernel of every process, and remembers the answer.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

from ...system.threads import start_thread
from ..seams import compilers, knobs

# Triton is imported within that time, or the program waits for something else. Arbitrary.
_IMPORTED_WITHIN_S, _PAUSE_S = 60.0, 0.02


def begin(work: Callable[[], None] | None = None) -> None:
    """Start `digest`, or what leads to it, in a thread; nothing is to be waited for."""
    with contextlib.suppress(RuntimeError):  # no more threads: the first kernel does it
        start_thread(work or digest, name="tuneonce-early")


def await_triton() -> None:
    """Wait, in a thread of ours, until the program has imported Triton as a whole."""
    by = time.monotonic() + _IMPORTED_WITHIN_S
    while _is_importing("triton") and time.monotonic() < by:
        time.sleep(_PAUSE_S)


def _is_importing(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def digest() -> None:
    """Have Triton digest its installation. Raises nothing."""
    with contextlib.suppress(Exception):
        if not knobs.interpreting():  # which compiles nothing
            compilers.installation_digest()
