"""What the kernels of this folder share."""

from __future__ import annotations

from typing import Any

import torch
import triton


def warps(*counts: int, **constants: Any) -> list[triton.Config]:
    """Candidates that differ in nothing but their warps: they share the text of the kernel."""
    return [triton.Config(dict(constants), num_warps=count) for count in counts]


def blocks(*sizes: int, **options: Any) -> list[triton.Config]:
    """Candidates that differ in their tile: each has a text of its own."""
    return [triton.Config({"BLOCK": size}, **options) for size in sizes]


def floats(size: int) -> torch.Tensor:
    return torch.zeros(size)
