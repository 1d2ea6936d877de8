"""Gated linear attention in chunks, as five autotuned Triton kernels.

The recurrence, per head, with q, k, v of D values a token and one log gate g ≤ 0 a token::

    S[t] = exp(g[t]) · S[t-1] + k[t] v[t]ᵀ          (D × D, S[-1] = 0)
    o[t] = S[t]ᵀ q[t]

A prompt is cut into chunks of C tokens. With G the sum of the gates from the start of the chunk,
and S the state before the chunk::

    A[i, j] = q[i]·k[j] · exp(G[i] - G[j])          for j ≤ i in one chunk, else 0
    o[i]    = exp(G[i]) · Sᵀ q[i] + Σ_j A[i, j] v[j]
    S next  = exp(G[C-1]) · S + Σ_j exp(G[C-1] - G[j]) k[j] v[j]ᵀ

which is matrix products within a chunk and one short loop over chunks. The chunked form is that
of "Gated Linear Attention Transformers with Hardware-Efficient Training" (Yang et al., 2024).

Shapes: T tokens, H heads, D values a head, N = ceil(T / C) chunks. All tensors are contiguous.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from triton import Config

from .tuning import INTERPRETED, benchmarker, interpreted_count, size_class

_GPU = {
    "chunk_cumsum": [
        Config({"BLOCK_H": heads}, num_warps=warps) for heads in (1, 4, 16) for warps in (1, 2, 4)
    ],
    "chunk_products": [
        Config({"BLOCK_I": rows, "BLOCK_D": depth}, num_warps=warps, num_stages=stages)
        for rows in (16, 32, 64)
        for depth in (64, 128)
        for warps in (2, 4)
        for stages in (2, 3)
    ],
    "chunk_state": [
        Config({"BLOCK_K": keys, "BLOCK_V": values}, num_warps=warps, num_stages=stages)
        for keys in (32, 64, 128, 256)
        for values in (32, 64)
        for warps in (2, 4)
        for stages in (2, 3)
    ],
    "chunk_output": [
        Config({"BLOCK_K": keys, "BLOCK_V": values}, num_warps=warps, num_stages=stages)
        for keys in (32, 64)
        for values in (32, 64, 128)
        for warps in (4, 8)
        for stages in (2, 3)
    ],
    "decode_step": [
        Config({"BLOCK_V": values}, num_warps=warps)
        for values in (8, 16, 32)
        for warps in (1, 2, 4)
    ],
}

_SQUARES = [(16, 16), (16, 32), (32, 16), (32, 32), (8, 16), (8, 32), (16, 8), (32, 8)]
_INTERPRETED = {
    "chunk_cumsum": [Config({"BLOCK_H": heads}) for heads in (1, 2, 4, 8)],
    "chunk_products": [
        Config({"BLOCK_I": rows, "BLOCK_D": depth}) for rows in (8, 16) for depth in (8, 16, 32)
    ],
    "chunk_state": [
        Config({"BLOCK_K": keys, "BLOCK_V": values})
        for keys, values in [*_SQUARES, (64, 16), (64, 32)]
    ],
    "chunk_output": [Config({"BLOCK_K": keys, "BLOCK_V": values}) for keys, values in _SQUARES],
    "decode_step": [Config({"BLOCK_V": values}) for values in (4, 8, 16, 32)],
}


def candidates(*, interpreted: bool) -> dict[str, list[Config]]:
    """Kernel name → its candidates, under the interpreter or on a GPU."""
    return _INTERPRETED if interpreted else _GPU


_CANDIDATES = candidates(interpreted=INTERPRETED)


def blocks_within_head(
    configs: list[Config], named_args: dict[str, Any], **kwargs: Any
) -> list[Config]:
    """Keep the candidates whose blocks are not larger than a head (``early_config_prune``).

    A larger block computes only masked columns more, so it cannot win and need not be compiled.
    """
    D = {**named_args, **kwargs}["D"]
    fitting = [
        config
        for config in configs
        if config.kwargs["BLOCK_K"] <= D and config.kwargs["BLOCK_V"] <= D
    ]
    return fitting or configs[:1]


# T changes with every prompt: specialising on its divisibility, or on the class that stands for
# it in the key, would compile variants that differ in nothing.
_PER_PROMPT = ["T", "T_class"]


@triton.autotune(
    configs=_CANDIDATES["chunk_cumsum"], key=["T_class", "H", "C"], do_bench=benchmarker
)
@triton.jit(do_not_specialize=_PER_PROMPT)
def chunk_cumsum(g, G, T, T_class, H: tl.constexpr, C: tl.constexpr, BLOCK_H: tl.constexpr):
    """G [T, H] f32 = cumulative sums of g [T, H] that start anew with each chunk.

    Grid: (N, ceil(H / BLOCK_H)).
    """
    t = tl.program_id(0) * C + tl.arange(0, C)
    h = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    inside = (t < T)[:, None] & (h < H)[None, :]
    at = t.to(tl.int64)[:, None] * H + h[None, :]
    gates = tl.load(g + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(G + at, tl.cumsum(gates, axis=0), mask=inside)


@triton.autotune(
    configs=_CANDIDATES["chunk_products"], key=["T_class", "H", "D", "C"], do_bench=benchmarker
)
@triton.jit(do_not_specialize=_PER_PROMPT)
def chunk_products(
    q,
    k,
    G,
    A,
    T,
    T_class,
    H: tl.constexpr,
    D: tl.constexpr,
    C: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """A [T, H, C] = decayed products of each token with its own and earlier tokens of its chunk.

    q, k [T, H, D]; G [T, H] f32. Grid: (N · C / BLOCK_I, H).
    """
    block = tl.program_id(0)
    h = tl.program_id(1)
    i = block * BLOCK_I + tl.arange(0, BLOCK_I)
    j = block * BLOCK_I // C * C + tl.arange(0, C)
    at_i = i.to(tl.int64) * H + h
    at_j = j.to(tl.int64) * H + h
    products = tl.zeros([BLOCK_I, C], dtype=tl.float32)
    for start in range(0, D, BLOCK_D):
        d = start + tl.arange(0, BLOCK_D)
        q_tile = tl.load(
            q + at_i[:, None] * D + d[None, :], mask=(i < T)[:, None] & (d < D)[None, :], other=0.0
        )
        k_tile = tl.load(
            k + at_j[None, :] * D + d[:, None], mask=(j < T)[None, :] & (d < D)[:, None], other=0.0
        )
        products = tl.dot(q_tile, k_tile, products, input_precision="ieee")
    causal = (j[None, :] <= i[:, None]) & (i < T)[:, None]
    gates_i = tl.load(G + at_i, mask=i < T, other=0.0)
    gates_j = tl.load(G + at_j, mask=j < T, other=0.0)
    # Masked before the exponential: later tokens would overflow it.
    decay = tl.exp(tl.where(causal, gates_i[:, None] - gates_j[None, :], 0.0))
    products = tl.where(causal, products * decay, 0.0)
    column = tl.arange(0, C)
    tl.store(
        A + at_i[:, None] * C + column[None, :],
        products.to(A.dtype.element_ty),
        mask=(i < T)[:, None],
    )


@triton.autotune(
    configs=_CANDIDATES["chunk_state"],
    key=["T_class", "H", "D", "C"],
    prune_configs_by={"early_config_prune": blocks_within_head},
    do_bench=benchmarker,
)
@triton.jit(do_not_specialize=_PER_PROMPT)
def chunk_state(
    k,
    v,
    G,
    states,
    final,
    T,
    T_class,
    H: tl.constexpr,
    D: tl.constexpr,
    C: tl.constexpr,
    CHUNKS: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """states [N, H, D, D] = the state before each chunk; final [H, D, D] f32 = after the last.

    k, v [T, H, D]; G [T, H] f32. CHUNKS is N, or 0 for ceil(T / C) worked out on the device.
    Grid: (ceil(D / BLOCK_K), ceil(D / BLOCK_V), H).
    """
    dk = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    dv = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    h = tl.program_id(2)
    tile = dk[:, None] * D + dv[None, :]
    in_tile = (dk < D)[:, None] & (dv < D)[None, :]
    state = tl.zeros([BLOCK_K, BLOCK_V], dtype=tl.float32)
    for chunk in range(0, CHUNKS if CHUNKS > 0 else tl.cdiv(T, C)):
        before = states + (chunk * H + h).to(tl.int64) * D * D
        tl.store(before + tile, state.to(states.dtype.element_ty), mask=in_tile)
        t = chunk * C + tl.arange(0, C)
        at = t.to(tl.int64) * H + h
        last = tl.minimum(chunk * C + C, T) - 1
        to_end = tl.load(G + last.to(tl.int64) * H + h)
        gates = tl.load(G + at, mask=t < T, other=0.0)
        k_tile = tl.load(
            k + at[None, :] * D + dk[:, None], mask=(t < T)[None, :] & (dk < D)[:, None], other=0.0
        )
        v_tile = tl.load(
            v + at[:, None] * D + dv[None, :], mask=(t < T)[:, None] & (dv < D)[None, :], other=0.0
        )
        # Rows past T hold k = 0; their exponent is held at zero or below all the same.
        decay = tl.exp(tl.where(t < T, to_end - gates, 0.0))
        k_tile = (k_tile * decay[None, :]).to(v_tile.dtype)
        state = tl.dot(k_tile, v_tile, state * tl.exp(to_end), input_precision="ieee")
    tl.store(final + h.to(tl.int64) * D * D + tile, state, mask=in_tile)


@triton.autotune(
    configs=_CANDIDATES["chunk_output"], key=["T_class", "H", "D", "C"], do_bench=benchmarker
)
@triton.jit(do_not_specialize=_PER_PROMPT)
def chunk_output(
    q,
    v,
    G,
    A,
    states,
    o,
    T,
    T_class,
    H: tl.constexpr,
    D: tl.constexpr,
    C: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """o [T, H, D] f32 = what the state before the chunk and the chunk itself give each token.

    q, v [T, H, D]; G [T, H] f32; A [T, H, C]; states [N, H, D, D].
    Grid: (N, ceil(D / BLOCK_V), H).
    """
    chunk = tl.program_id(0)
    dv = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    h = tl.program_id(2)
    t = chunk * C + tl.arange(0, C)
    at = t.to(tl.int64) * H + h
    before = states + (chunk * H + h).to(tl.int64) * D * D
    out = tl.zeros([C, BLOCK_V], dtype=tl.float32)
    for start in range(0, D, BLOCK_K):
        dk = start + tl.arange(0, BLOCK_K)
        q_tile = tl.load(
            q + at[:, None] * D + dk[None, :], mask=(t < T)[:, None] & (dk < D)[None, :], other=0.0
        )
        state = tl.load(
            before + dk[:, None] * D + dv[None, :],
            mask=(dk < D)[:, None] & (dv < D)[None, :],
            other=0.0,
        )
        out = tl.dot(q_tile, state, out, input_precision="ieee")
    gates = tl.load(G + at, mask=t < T, other=0.0)
    out = out * tl.exp(gates)[:, None]
    j = tl.arange(0, C)
    a_tile = tl.load(A + at[:, None] * C + j[None, :], mask=(t < T)[:, None], other=0.0)
    rows = (t < T)[:, None] & (dv < D)[None, :]
    v_tile = tl.load(v + at[:, None] * D + dv[None, :], mask=rows, other=0.0)
    out = tl.dot(a_tile, v_tile, out, input_precision="ieee")
    tl.store(o + at[:, None] * D + dv[None, :], out, mask=rows)


@triton.autotune(
    configs=_CANDIDATES["decode_step"],
    key=["H", "D"],
    # The state is updated in place: each timed launch must start from the same one.
    restore_value=["state"],
    do_bench=benchmarker,
)
@triton.jit
def decode_step(q, k, v, g, state, o, H: tl.constexpr, D: tl.constexpr, BLOCK_V: tl.constexpr):
    """One step of the recurrence: updates state [H, D, D] f32 in place and writes o [H, D] f32.

    q, k, v [H, D]; g [H] f32; D is a power of two. Grid: (H, ceil(D / BLOCK_V)).
    """
    h = tl.program_id(0)
    dk = tl.arange(0, D)
    dv = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    at = state + h.to(tl.int64) * D * D + dk[:, None] * D + dv[None, :]
    columns = dv < D
    q_row = tl.load(q + h * D + dk).to(tl.float32)
    k_row = tl.load(k + h * D + dk).to(tl.float32)
    v_row = tl.load(v + h * D + dv, mask=columns, other=0.0).to(tl.float32)
    decay = tl.exp(tl.load(g + h))
    tile = tl.load(at, mask=columns[None, :], other=0.0)
    tile = tile * decay + k_row[:, None] * v_row[None, :]
    tl.store(at, tile, mask=columns[None, :])
    tl.store(o + h * D + dv, tl.sum(tile * q_row[:, None], axis=0), mask=columns)


def gla_prefill(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, *, chunk: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gated linear attention over a whole prompt, from an empty state.

    q, k, v: [T, H, D], contiguous, float32 or bfloat16; g: log gates ≤ 0, [T, H] float32.
    `chunk`: tokens a chunk, a power of two, on a GPU at least 16. T need not be a multiple of it.

    Returns the outputs [T, H, D] float32 and the state after the last token [H, D, D] float32.
    """
    T, H, D = q.shape
    N = triton.cdiv(T, chunk)
    sizes: dict[str, int] = {"T": T, "T_class": size_class(T), "H": H, "C": chunk}
    G = torch.empty_like(g)
    A = q.new_empty(T, H, chunk)
    states = q.new_empty(N, H, D, D)
    final = q.new_empty(H, D, D, dtype=torch.float32)
    o = torch.empty_like(q, dtype=torch.float32)
    chunk_cumsum[lambda meta: (N, triton.cdiv(H, meta["BLOCK_H"]))](g, G, **sizes)
    sizes["D"] = D
    chunk_products[lambda meta: (N * chunk // meta["BLOCK_I"], H)](q, k, G, A, **sizes)
    chunk_state[lambda meta: (triton.cdiv(D, meta["BLOCK_K"]), triton.cdiv(D, meta["BLOCK_V"]), H)](
        k, v, G, states, final, CHUNKS=interpreted_count(N), **sizes
    )
    chunk_output[lambda meta: (N, triton.cdiv(D, meta["BLOCK_V"]), H)](
        q, v, G, A, states, o, **sizes
    )
    return o, final


def gla_step(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, state: torch.Tensor
) -> torch.Tensor:
    """One token more: q, k, v [H, D]; g [H] float32; state [H, D, D] float32, updated in place.

    Returns the token's outputs [H, D] float32.
    """
    H, D = q.shape
    o = torch.empty_like(q, dtype=torch.float32)
    decode_step[lambda meta: (H, triton.cdiv(D, meta["BLOCK_V"]))](q, k, v, g, state, o, H=H, D=D)
    return o
