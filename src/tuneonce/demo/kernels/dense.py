"""RMSNorm and matrix product, autotuned.

Shapes: rows are tokens. All tensors are contiguous.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from triton import Config

from .tuning import INTERPRETED, benchmarker, interpreted_count, size_class


def zero_output(args: dict[str, Any]) -> None:
    """Clear what the parts of a split sum are added to (``pre_hook`` of a candidate)."""
    args["c"].zero_()


def _product(m: int, n: int, k: int, *, split: int = 1, group: int = 8, **options: int) -> Config:
    """A candidate of `matmul`: tiles of m × n, steps of k, the sum over K cut into `split` parts.

    No more than two parts: 0 + x + y is the same number in either order, so that a result does
    not depend on which part is done first.
    """
    return Config(
        {"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "SPLIT_K": split, "GROUP_M": group},
        pre_hook=zero_output if split > 1 else None,
        **options,
    )


_GPU = {
    "rms_norm": [
        Config({"BLOCK_ROWS": rows, "BLOCK_N": columns}, num_warps=warps)
        for rows in (1, 2, 4)
        for columns in (512, 1024, 2048)
        for warps in (4, 8)
    ],
    "matmul": [
        *(
            _product(16, n, k, split=split, num_warps=4, num_stages=stages)
            for n, k in ((32, 128), (64, 128), (128, 64))
            for split in (1, 2)
            for stages in (3, 5)
        ),
        *(
            _product(m, n, 64, num_warps=warps, num_stages=stages)
            for m, n, warps in ((64, 64, 4), (64, 128, 4), (128, 128, 4), (128, 128, 8))
            for stages in (3, 4)
        ),
        _product(64, 256, 32, num_warps=4, num_stages=4),
        _product(128, 256, 64, num_warps=8, num_stages=3),
        _product(128, 256, 64, num_warps=8, num_stages=4),
        _product(256, 128, 64, num_warps=8, num_stages=3),
    ],
}

_INTERPRETED = {
    "rms_norm": [
        Config({"BLOCK_ROWS": rows, "BLOCK_N": columns})
        for rows in (4, 8, 16)
        for columns in (32, 64)
    ],
    "matmul": [
        _product(16, 32, 32),
        _product(16, 64, 32),
        _product(16, 64, 64),
        _product(32, 32, 32),
        _product(32, 64, 64),
        _product(64, 32, 64),
        _product(64, 64, 64),
        _product(16, 64, 32, split=2),
    ],
}


def candidates(*, interpreted: bool) -> dict[str, list[Config]]:
    """Kernel name → its candidates, under the interpreter or on a GPU."""
    return _INTERPRETED if interpreted else _GPU


_CANDIDATES = candidates(interpreted=INTERPRETED)


def tiles_for_rows(
    configs: list[Config], named_args: dict[str, Any], **kwargs: Any
) -> list[Config]:
    """Keep the candidates whose tiles suit the number of rows (``early_config_prune``).

    Tiles higher than the rows there are compute nothing more, and the lowest ones are for
    decoding: with many rows they read the weights too often.
    """
    rows = {**named_args, **kwargs}["M_class"]
    low, high = (16, rows) if rows <= 64 else (32, 256)
    fitting = [config for config in configs if low <= config.kwargs["BLOCK_M"] <= high]
    return fitting or configs[:1]


@triton.autotune(
    configs=_CANDIDATES["rms_norm"], key=["M_class", "N", "INTEGERS"], do_bench=benchmarker
)
# M is left to Triton's specialisation, as in most kernels that servers use: the first number of
# rows that is divisible by 16, and the first that is not, need binaries of their own.
@triton.jit(do_not_specialize=["M_class"])
def rms_norm_rows(
    x,
    weight,
    y,
    M,
    M_class,
    N: tl.constexpr,
    INTEGERS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """y [M, N] = x [M, N] / rms(x) · weight [N], cut to whole numbers if INTEGERS.

    Grid: (ceil(M / BLOCK_ROWS),).
    """
    m = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    row = m.to(tl.int64)[:, None] * N
    squares = tl.zeros([BLOCK_ROWS], dtype=tl.float32)
    for start in range(0, N, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        inside = (m < M)[:, None] & (n < N)[None, :]
        tile = tl.load(x + row + n[None, :], mask=inside, other=0.0).to(tl.float32)
        squares += tl.sum(tile * tile, axis=1)
    scale = tl.rsqrt(squares / N + 1e-6)
    for start in range(0, N, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        inside = (m < M)[:, None] & (n < N)[None, :]
        tile = tl.load(x + row + n[None, :], mask=inside, other=0.0).to(tl.float32)
        tile = tile * scale[:, None] * tl.load(weight + n, mask=n < N, other=0.0)[None, :]
        if INTEGERS:
            tile = tile.to(tl.int32).to(tl.float32)
        tl.store(y + row + n[None, :], tile.to(y.dtype.element_ty), mask=inside)


@triton.autotune(
    configs=_CANDIDATES["matmul"],
    key=["M_class", "N", "K"],
    prune_configs_by={"early_config_prune": tiles_for_rows},
    do_bench=benchmarker,
)
@triton.jit(do_not_specialize=["M", "M_class"])
def matmul_tiles(
    a,
    b,
    c,
    M,
    N,
    K,
    M_class,
    DEPTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLIT_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """c [M, N] f32 = a [M, K] · b [K, N]; with SPLIT_K > 1 added to c, which must hold zeros.

    DEPTH is K, or 0 for a loop that takes K as it is at run time.
    Grid: (ceil(M / BLOCK_M) · ceil(N / BLOCK_N), SPLIT_K). Programs next to each other share
    GROUP_M rows of tiles, so that what they read of `b` is still in the cache.
    """
    tile = tl.program_id(0)
    part = tl.program_id(1)
    tiles_m = tl.cdiv(M, BLOCK_M)
    in_group = GROUP_M * tl.cdiv(N, BLOCK_N)
    first = tile // in_group * GROUP_M
    height = tl.minimum(tiles_m - first, GROUP_M)
    m = (first + tile % in_group % height) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tile % in_group // height * BLOCK_N + tl.arange(0, BLOCK_N)
    steps = tl.cdiv(K, BLOCK_K * SPLIT_K)
    k = part * steps * BLOCK_K + tl.arange(0, BLOCK_K)
    a_at = a + m.to(tl.int64)[:, None] * K + k[None, :]
    b_at = b + k.to(tl.int64)[:, None] * N + n[None, :]
    total = tl.zeros([BLOCK_M, BLOCK_N], dtype=tl.float32)
    for step in range(0, tl.cdiv(DEPTH, BLOCK_K * SPLIT_K) if DEPTH > 0 else steps):
        left = K - step * BLOCK_K
        a_tile = tl.load(a_at, mask=(m < M)[:, None] & (k < left)[None, :], other=0.0)
        b_tile = tl.load(b_at, mask=(k < left)[:, None] & (n < N)[None, :], other=0.0)
        total = tl.dot(a_tile, b_tile, total, input_precision="ieee")
        a_at += BLOCK_K
        b_at += BLOCK_K * N.to(tl.int64)
    c_at = c + m.to(tl.int64)[:, None] * N + n[None, :]
    inside = (m < M)[:, None] & (n < N)[None, :]
    if SPLIT_K == 1:
        tl.store(c_at, total, mask=inside)
    else:
        tl.atomic_add(c_at, total, mask=inside, sem="relaxed")


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor, *, dtype: torch.dtype, integers: bool = False
) -> torch.Tensor:
    """x [M, N] float32 / root mean square of its row · weight [N] float32, as [M, N] `dtype`.

    `integers`: cut towards zero to whole numbers, the activations of a quantised model.
    """
    M, N = x.shape
    y = torch.empty_like(x, dtype=dtype)
    rms_norm_rows[lambda meta: (triton.cdiv(M, meta["BLOCK_ROWS"]),)](
        x, weight, y, M=M, M_class=size_class(M), N=N, INTEGERS=integers
    )
    return y


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a [M, K] · b [K, N], both float32 or both bfloat16, summed in float32: [M, N] float32."""
    M, K = a.shape
    N = b.shape[1]
    c = a.new_empty(M, N, dtype=torch.float32)
    matmul_tiles[
        lambda meta: (
            triton.cdiv(M, meta["BLOCK_M"]) * triton.cdiv(N, meta["BLOCK_N"]),
            meta["SPLIT_K"],
        )
    ](a, b, c, M=M, N=N, K=K, M_class=size_class(M), DEPTH=interpreted_count(K))
    return c
