"""gemlite: low-bit matrix multiplication.

Its kernels prune with generators that make new candidates for every key, most of them not in the
autotuner's own list, some with a ``pre_hook``; others list arguments in ``restore_value``.
"""

from __future__ import annotations

from collections.abc import Callable

PACKAGE = "gemlite"
MODULE = "gemlite"
ENVIRONMENT: dict[str, str] = {}
AT_MOST: int | None = None
LIMITS = "weights of 256 x 256, 1 to 64 rows; gemlite's own `fast` lists of candidates"


def calls(device: str) -> dict[str, Callable[[], object]]:
    """The kernel that gemlite selects for each number of rows, and int8 with its quantiser."""
    import gemlite
    import torch

    generator = torch.Generator().manual_seed(0)
    int4 = gemlite.GemLiteLinear(
        W_nbits=4,
        group_size=128,
        in_features=256,
        out_features=256,
        input_dtype=gemlite.DType.FP16,
        output_dtype=gemlite.DType.FP16,
    )
    weights = torch.randint(0, 15, (256, 256), generator=generator).to(torch.uint8)
    scales, zeros = torch.rand(256, 2, generator=generator), torch.full((256, 2), 7.0)
    int4.pack(weights.to(device), scales.half().to(device), zeros.half().to(device), None)
    dense = torch.randn(256, 256, generator=generator).half().to(device)
    int8 = gemlite.helper.A8W8_int8_dynamic(device=device).from_weights(dense)

    def call(layer: torch.nn.Module, rows: int) -> Callable[[], object]:
        x = torch.randn(rows, 256, generator=torch.Generator().manual_seed(rows)).half().to(device)
        return lambda: layer(x)

    return {
        "int4, 1 row": call(int4, 1),
        "int4, 8 rows": call(int4, 8),
        "int4, 64 rows": call(int4, 64),
        "int8, 1 row": call(int8, 1),
        "int8, 8 rows": call(int8, 8),
    }
