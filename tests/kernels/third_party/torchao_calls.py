"""torchao: PyTorch's quantisation kernels, those of its prototypes that Hopper can run.

They are launched from inside ``torch.library`` operators (``wrap_triton``), one autotunes over
nothing but warps and stages, and two autotuners share the kernel behind ``mixed_mm``.
"""

from __future__ import annotations

from collections.abc import Callable

PACKAGE = "torchao"
MODULE = "torchao"
ENVIRONMENT: dict[str, str] = {}
AT_MOST: int | None = 12
LIMITS = "at most 12 candidates of each list; not the MoE kernels, which Triton 3.9 rejects"


def calls(device: str) -> dict[str, Callable[[], object]]:
    """Blockwise fp8 quantisation, that of attention's inputs, MX back to bf16, int4 times bf16."""
    import torch
    from torchao.prototype.blockwise_fp8_training import kernels as blockwise
    from torchao.prototype.fp8_sdpa_inference import fp8_sdpa_quantization as sdpa
    from torchao.prototype.hqq import mixed_mm
    from torchao.prototype.mx_formats import kernels as mx

    def randn(*shape: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(len(shape))
        return torch.randn(*shape, generator=generator).to(device=device, dtype=torch.bfloat16)

    x, q = randn(256, 256), randn(1, 4, 256, 64)
    e4m3 = x.to(torch.float8_e4m3fn)
    e8m0 = torch.full((256, 8), 127, dtype=torch.uint8, device=device)
    packed = torch.ones(128, 256, dtype=torch.uint8, device=device)
    scales, zeros = randn(4, 256), randn(4, 256)
    return {
        "activations, rows": lambda: blockwise.triton_fp8_blockwise_act_quant_lhs(x),
        "weights": lambda: blockwise.triton_fp8_blockwise_weight_quant_rhs(x),
        "q, k and v": lambda: sdpa.qkv_quantize_func(q, q, q),
        "mxfp8 to bf16": lambda: mx.triton_mxfp8_dequant_dim0(e4m3, e8m0, torch.bfloat16),
        "mixed_mm": lambda: mixed_mm.triton_mixed_mm(x, packed, scales, zeros, group_size=64),
        "mixed_mm, max": lambda: mixed_mm.triton_mixed_mm(
            x, packed, scales, zeros, group_size=64, kernel_type="max_autotune"
        ),
    }
