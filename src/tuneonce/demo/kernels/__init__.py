"""The demo's Triton kernels: seven, all of them autotuned. Importing this imports triton and torch.

:mod:`.gla` holds gated linear attention in chunks and :mod:`.dense` RMSNorm and the matrix
product. The four functions exported here are all that the model calls; the plain PyTorch ones
under the same names in :mod:`tuneonce.demo.reference` are what they must compute.
"""

from __future__ import annotations

from typing import Any

from . import dense, gla, tuning
from .dense import matmul, rms_norm
from .gla import gla_prefill, gla_step

__all__ = ["AUTOTUNED", "candidates", "gla_prefill", "gla_step", "matmul", "rms_norm"]

AUTOTUNED: dict[str, Any] = {
    "chunk_cumsum": gla.chunk_cumsum,
    "chunk_products": gla.chunk_products,
    "chunk_state": gla.chunk_state,
    "chunk_output": gla.chunk_output,
    "decode_step": gla.decode_step,
    "rms_norm": dense.rms_norm_rows,
    "matmul": dense.matmul_tiles,
}
"""Name → ``triton.runtime.Autotuner``."""


def candidates(*, interpreted: bool = tuning.INTERPRETED) -> dict[str, list[Any]]:
    """Name → its candidates (``triton.Config``), under the interpreter or on a GPU."""
    return {
        **gla.candidates(interpreted=interpreted),
        **dense.candidates(interpreted=interpreted),
    }
