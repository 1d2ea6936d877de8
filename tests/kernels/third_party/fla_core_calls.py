"""fla-core (flash-linear-attention): operators beyond Gated DeltaNet, which has a test of its own.

A third of its kernels use a subclass of ``Autotuner`` of its own, the rest Triton's. The decoding
step of the short convolution lists its state in ``restore_value``, the kernels of several operators
are the same under other keys, and one kernel has 135 candidates.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

PACKAGE = "fla-core"
MODULE = "fla"
ENVIRONMENT: dict[str, str] = {}
AT_MOST: int | None = 8
# A subclass of the autotuner, one kernel under two operators' keys, Triton's autotuner, and the
# state that is restored; the other operators are more of the same.
SHORT = (
    "simple_gla packed",
    "retention",
    "layer norm",
    "short convolution",
    "short convolution, one step",
)
LIMITS = "forward only; bf16, 256 tokens, 4 heads of 64; at most 8 candidates of each list"


def calls(device: str) -> dict[str, Callable[[], object]]:
    """Attention operators, dense and packed, and the modules that models put around them."""
    import torch
    from torch.nn.functional import logsigmoid

    without_gluon()

    def find(module: str, name: str) -> Any:
        return getattr(importlib.import_module(f"fla.{module}"), name)

    def randn(*shape: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(sum(shape))
        return torch.randn(*shape, generator=generator).to(device=device, dtype=torch.bfloat16)

    def gate(*shape: int) -> torch.Tensor:
        return logsigmoid(randn(*shape).float())

    q, k, v = randn(1, 256, 4, 64), randn(1, 256, 4, 64), randn(1, 256, 4, 64)
    g, decay = gate(1, 256, 4), gate(1, 256, 4, 64)
    packed = torch.tensor([0, 100, 256], device=device)
    rows, weight = randn(64, 128), randn(128)
    hidden, filters, state = randn(1, 256, 256), randn(256, 4), randn(2, 256, 4)
    token = randn(2, 256)
    angles = randn(256, 32)

    named: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
        "simple_gla": (find("ops.simple_gla", "chunk_simple_gla"), (q, k, v), {"g": g}),
        "simple_gla packed": (
            find("ops.simple_gla", "chunk_simple_gla"),
            (q, k, v),
            {"g": g, "cu_seqlens": packed},
        ),
        "retention": (find("ops.retention", "chunk_retention"), (q, k, v), {}),
        "linear_attn": (
            find("ops.linear_attn", "chunk_linear_attn"),
            (q, k, v),
            {"normalize": False},
        ),
        "rwkv7": (
            find("ops.rwkv7", "chunk_rwkv7"),
            (q, decay.to(torch.bfloat16), k, v, -k, k),
            {},
        ),
        "hgrn": (find("ops.hgrn", "chunk_hgrn"), (hidden, gate(1, 256, 256).bfloat16()), {}),
        "gla, one token after another": (
            find("ops.gla", "fused_recurrent_gla"),
            (q, k, v, decay),
            {},
        ),
        "layer norm": (find("modules.norm.layernorm", "layer_norm"), (rows, weight, weight), {}),
        "gated rms norm": (
            find("modules.norm.fused_norm_gate", "rms_norm_gated"),
            (rows, rows, weight, None),
            {},
        ),
        "short convolution": (
            find("modules.causal_conv1d", "causal_conv1d"),
            (hidden, filters),
            {"activation": "silu"},
        ),
        "short convolution, one step": (
            find("modules.causal_conv1d", "causal_conv1d_update"),
            (token, state),
            {"weight": filters, "activation": "silu"},
        ),
        "token shift": (find("modules.token_shift", "token_shift"), (hidden,), {}),
        "rotary": (find("modules.rotary", "rotary_embedding"), (q, angles, angles), {}),
    }

    def call(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        with torch.no_grad():
            return function(*args, **options)

    return {name: lambda parts=parts: call(*parts) for name, parts in named.items()}


def without_gluon() -> None:
    """Import fla where its Gluon kernels, off by default, cannot be: on Triton 3.4."""
    import triton

    if tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 5):
        return
    gluon = sys.modules.pop("triton.experimental.gluon", None)
    sys.modules["triton.experimental.gluon"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("fla.ops.simple_gla")
    finally:
        del sys.modules["triton.experimental.gluon"]
        if gluon is not None:
            sys.modules["triton.experimental.gluon"] = gluon
