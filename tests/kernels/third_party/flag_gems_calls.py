"""flag_gems (FlagGems): PyTorch's operators as Triton kernels.

Part of its kernels use ``triton.autotune``, under a launcher of its own which reads ``best_config``
after the first call and then launches by itself. The rest use its `LibTuner`, which overrides
``Autotuner.run`` and keeps results in a SQLite file: those never reach tuneonce.
"""

from __future__ import annotations

from collections.abc import Callable

PACKAGE = "flag_gems"
MODULE = "flag_gems"
# It asks nvidia-smi, which does not know the simulated GPU.
ENVIRONMENT = {"GEMS_VENDOR": "nvidia"}
AT_MOST: int | None = 8
LIMITS = "seven operators; float32, 64 x 8,192; at most 8 candidates of each list"


def calls(device: str) -> dict[str, Callable[[], object]]:
    """Five that use ``triton.autotune``, two that use `LibTuner`."""
    import flag_gems
    import torch

    ops = flag_gems.ops

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(device)

    x, weight, matrix = randn(64, 8192), randn(8192), randn(128, 128)
    return {
        "layer_norm": lambda: ops.layer_norm(x, [8192], weight, weight),
        "rms_norm": lambda: ops.rms_norm_forward(x, [8192], weight),
        "vector_norm": lambda: ops.vector_norm(x, 2, [1]),
        "std": lambda: ops.std(x, 1),
        "triu": lambda: ops.triu(matrix),
        "mv (LibTuner)": lambda: ops.mv(matrix, matrix[0]),
        "amax (LibTuner)": lambda: ops.amax(x, [1]),
    }
