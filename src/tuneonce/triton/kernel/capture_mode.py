"""Lets a thread of ours load modules while another thread captures a CUDA graph.

A capture in CUDA's usual mode, ``global``, is made invalid by calls of any thread that allocate or
load, unless that thread has said that it is no part of it (``cuThreadExchangeStreamCaptureMode`` of
CUDA's driver interface: a thread in mode ``relaxed`` is not looked at).
"""

from __future__ import annotations

import contextlib
import ctypes

_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED


def take_no_part_in_captures() -> None:
    """Say so for this thread, for as long as it lives; nothing where there is no such driver."""
    with contextlib.suppress(OSError, AttributeError):
        exchange = ctypes.CDLL("libcuda.so.1").cuThreadExchangeStreamCaptureMode
        exchange(ctypes.byref(ctypes.c_int(_RELAXED)))
