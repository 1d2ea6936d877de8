"""liger-kernel: kernels for training.

Most of its kernels compute their block sizes and are not autotuned; twelve are. DyT's backward
lists a buffer in ``reset_to_zero``. The fused MLP's candidates have a ``pre_hook`` that writes the
block shape into the TMA descriptors which are its arguments, so a winner launched without its hook
would be another kernel; and its backward pass reads the winner's tiles from ``best_config``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

PACKAGE = "liger-kernel"
MODULE = "liger_kernel"
ENVIRONMENT: dict[str, str] = {}
AT_MOST: int | None = None
LIMITS = "DyT both ways, the fused MLP up to its first backward kernel; not the fused MoE"


def calls(device: str) -> dict[str, Callable[[], object]]:
    """One that is not autotuned, one that is reset to zero, one with descriptors."""
    import torch
    from liger_kernel.ops import dyt, mlp, rms_norm

    def randn(*shape: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(len(shape))
        return torch.randn(*shape, generator=generator).to(device=device, dtype=torch.bfloat16)

    x, dy, gamma, beta = randn(64, 1024), randn(64, 1024), randn(1024), randn(1024)
    alpha = torch.ones(1, device=device, dtype=torch.bfloat16)
    hidden, gate, up, down = randn(2, 128, 256), randn(512, 256), randn(512, 256), randn(256, 512)

    def mlp_both_ways() -> None:
        all_three, config = mlp.gemm_swiglu(hidden, gate, up, 1.0)
        mlp.swiglu_backward_dGU(hidden, down, all_three, config, 1.0, 1.0)

    made = {
        "rms norm (not autotuned)": lambda: rms_norm.rms_norm_forward(
            x, gamma, 1e-6, 0.0, "llama", None
        ),
        "dyt": lambda: dyt.liger_dyt_fwd(x, alpha, gamma, beta),
        "dyt, backward": lambda: dyt.liger_dyt_bwd(dy, x, alpha, gamma, beta),
    }
    # Before Triton 3.5 a descriptor knew nothing of padding, which the fused MLP asks for.
    if "padding" in inspect.signature(mlp.TensorDescriptor.from_tensor).parameters:
        made["mlp"] = mlp_both_ways
    return made
