"""Has Triton build what launches a kernel's binaries while these are still being compiled.

Up to Triton 3.6 every signature has a launcher of its own in C, which Triton builds with the host's
compiler at the first launch: a fifth of a second and more, as long as compiling many a candidate.
Built in a thread, it is in Triton's cache by then. Newer versions build none, and then this costs
nothing.
"""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace
from typing import Any

logger = logging.getLogger("tuneonce")

# Each is a C compiler; usually there is one signature for a key.
_AT_ONCE = 4


class Launchers:
    """Those that this process has begun to build, by signature. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._built: dict[str, threading.Event] = {}
        self._slots = threading.Semaphore(_AT_ONCE)

    def begin(self, src: Any) -> threading.Event | None:
        """Set when the launcher for `src` is there, or is not to be had; None: it needs a binary.

        `src` is Triton's `ASTSource`. What goes wrong will go wrong at the launch again, which says
        so.
        """
        signature = repr(src.signature)
        if "tensordesc" in signature:  # how descriptors are passed, its binary's metadata say
            return None
        with self._lock:
            built = self._built.get(signature)
            if built is not None:
                return built
            built = self._built[signature] = threading.Event()
        thread = threading.Thread(
            target=self._build, args=(src, built), name="tuneonce-launcher", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no more threads: the launch does it
            built.set()
        return built

    def _build(self, src: Any, built: threading.Event) -> None:
        from triton.runtime.driver import driver

        try:
            with self._slots:
                # As a binary does when it is loaded; it is built before metadata are read.
                driver.active.launcher_cls(src, SimpleNamespace())
        except AttributeError:
            pass
        except Exception:
            logger.debug("tuneonce: a launcher was not built ahead", exc_info=True)
        finally:
            built.set()
