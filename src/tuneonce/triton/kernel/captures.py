"""Threads of ours beside a thread that captures a CUDA graph."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from typing import Any

# CU_STREAM_CAPTURE_MODE_RELAXED
_RELAXED = 2

_here = threading.local()


def stand_aside() -> None:
    """Let this thread, which is ours and captures nothing, load modules whenever it likes.

    CUDA takes what may not be done during a capture for an error of the capture, in whatever thread
    it is done, unless that thread has said so. Nothing where there is no CUDA.
    """
    if getattr(_here, "said", False):
        return
    _here.said = True
    with contextlib.suppress(AttributeError):  # no library, or one without this function
        mode = ctypes.c_int(_RELAXED)
        _library().cuThreadExchangeStreamCaptureMode(ctypes.byref(mode))


@functools.lru_cache(maxsize=1)
def _library() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
