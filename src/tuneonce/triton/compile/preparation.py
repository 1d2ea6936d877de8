"""Does early what the first kernel would wait for and what takes neither a kernel nor a device.

Triton names binaries after a digest of its own installation. It reads hundreds of megabytes for
that, half a second at the first kernel of every process, and remembers the answer.
"""

from __future__ import annotations

import contextlib
import threading

from ..seams import compilers, knobs


def begin() -> None:
    """Start, in a thread; nothing is to be waited for, and a failure is the first kernel's."""
    if not knobs.interpreting():  # which compiles nothing
        threading.Thread(target=_digest, name="tuneonce-early", daemon=True).start()


def _digest() -> None:
    with contextlib.suppress(Exception):
        compilers.installation_digest()
