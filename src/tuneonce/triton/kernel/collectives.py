"""Kernels whose launch waits for other GPUs, told by their source."""

from __future__ import annotations

import re
from typing import Any

from ..seams import kernels
from .identity import innermost

# What such kernels are called or call. Measured alone they would hang.
_COLLECTIVE = re.compile(
    r"nvshmem|rocshmem|libshmem|symm_mem|symmetric_memory|signal_pad|multimem|mscclpp|\bnccl\b",
    re.I,
)


def talks_to_others(autotuner: Any) -> bool:
    """Whether the kernel's source names how it talks to other GPUs."""
    text = kernels.source_text(innermost(autotuner.fn)) or ""
    return _COLLECTIVE.search(text) is not None
