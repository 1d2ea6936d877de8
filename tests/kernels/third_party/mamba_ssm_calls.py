"""mamba-ssm: the state space kernels of Mamba-2 (SSD) and what stands around them.

Some of the backward kernels clear a buffer in a candidate's ``pre_hook``, which is why stock Triton
never keeps their results, and its callers read ``best_config`` after the launch to know which part
of a buffer was written: the wrong one would be a wrong gradient. The normalisation is tuned over
warps alone, under three layers of ``@heuristics``.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable

PACKAGE = "mamba-ssm"
MODULE = "mamba_ssm"
ENVIRONMENT: dict[str, str] = {}
AT_MOST: int | None = None
LIMITS = "Mamba-2 forward, three of its backward kernels, LayerNorm, SwiGLU; bf16, 256 tokens"


def calls(device: str) -> dict[str, Callable[[], object]]:
    """A dense call, the same packed, and single kernels of the backward pass."""
    # Its top imports models, which need transformers and a CUDA extension; its Triton operators
    # need neither.
    top = types.ModuleType(MODULE)
    top.__path__ = importlib.util.find_spec(MODULE).submodule_search_locations
    sys.modules[MODULE] = top
    import torch
    from mamba_ssm.ops.triton import (
        k_activations,
        layer_norm,
        ssd_chunk_state,
        ssd_combined,
        ssd_state_passing,
    )

    heads, dim, state, tokens, chunk = 8, 64, 64, 256, 64
    chunks = tokens // chunk

    def randn(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        generator = torch.Generator().manual_seed(len(shape))
        return torch.randn(*shape, generator=generator).to(device=device, dtype=dtype)

    x, dt = randn(1, tokens, heads, dim), randn(1, tokens, heads)
    a, bias = -randn(heads, dtype=torch.float32).exp(), randn(heads, dtype=torch.float32)
    b, c = randn(1, tokens, 1, state), randn(1, tokens, 1, state)
    packed = torch.arange(tokens, device=device, dtype=torch.int32)[None] // 100
    steps = randn(1, heads, chunks, chunk, dtype=torch.float32)
    cb = randn(1, chunks, 1, chunk, chunk, dtype=torch.float32)
    states = randn(1, chunks, heads, dim, state, dtype=torch.float32)
    flat = states.flatten(3)
    rows, weight = randn(64, 512), randn(512)

    def scan(**options: object) -> object:
        with torch.no_grad():
            return ssd_combined.mamba_chunk_scan_combined(
                x, dt, a, b, c, chunk, dt_bias=bias, dt_softplus=True, **options
            )

    return {
        "ssd": scan,
        "ssd, packed": lambda: scan(seq_idx=packed),
        "cumsum, backward": lambda: ssd_chunk_state._chunk_cumsum_bwd(
            steps, steps, dt, a, dt_bias=bias, dt_softplus=True
        ),
        "states, backward": lambda: ssd_state_passing._state_passing_bwd(flat, steps[..., 0], flat),
        "dx": lambda: ssd_combined._chunk_scan_chunk_state_bwd_dx(
            x, steps, steps, b, cb, x, states, D=bias
        ),
        "layer norm": lambda: layer_norm._layer_norm_fwd(rows, weight, weight, 1e-5),
        "swiglu": lambda: k_activations._swiglu_fwd(rows),
    }
