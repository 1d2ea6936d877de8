"""cut-cross-entropy: a linear layer and its cross entropy in one kernel.

Its candidates are pruned by a performance model (``perf_model``, ``top_k``), and its kernels are
made by calling ``triton.jit`` and ``triton.autotune`` as functions. It autotunes only if asked to.
"""

from __future__ import annotations

from collections.abc import Callable

PACKAGE = "cut-cross-entropy"
MODULE = "cut_cross_entropy"
# What it compiles with torch.compile asks a CUDA build for the state of its random numbers.
ENVIRONMENT = {"CCE_AUTOTUNE": "1", "TORCHDYNAMO_DISABLE": "1"}
AT_MOST: int | None = None
LIMITS = "256 tokens, 1,024 words, 256 channels, bf16; on the simulated GPU its clock is given"


def calls(device: str) -> dict[str, Callable[[], object]]:
    """Forward, and forward with backward."""
    import torch
    from cut_cross_entropy import linear_cross_entropy, tl_autotune

    if device == "cpu":
        # Asked of nvidia-smi, which does not know the simulated GPU.
        tl_autotune.get_clock_rate_in_khz = lambda: 1_980_000.0

    generator = torch.Generator().manual_seed(0)
    e = torch.randn(256, 256, generator=generator).to(device=device, dtype=torch.bfloat16)
    c = torch.randn(1024, 256, generator=generator).to(device=device, dtype=torch.bfloat16)
    targets = torch.randint(0, 1024, (256,), generator=generator).to(device)

    def backward() -> None:
        inputs = e.detach().requires_grad_(), c.detach().requires_grad_()
        linear_cross_entropy(*inputs, targets).backward()

    return {"forward": lambda: linear_cross_entropy(e, c, targets), "backward": backward}
