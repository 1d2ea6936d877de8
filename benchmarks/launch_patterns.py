"""Kernels, and the ways in which programs launch them, for benchmarks on the simulated GPU."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count, cycle
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

Launch = Callable[[], Any]

HEADS, DIM, TILE = 16, 128, 64
FEW, MANY = 4096, 262_144
"""Tokens of two work classes, whose winners differ."""
FEW_PROGRAMS = 4**8
CHUNKS = [triton.Config({"BV": bv}, num_warps=w) for bv in (32, 64) for w in (2, 4)]
ROWS = [triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (2, 4)]


class Pattern(NamedTuple):
    """The next launch of a pattern, made in three ways, each with an autotuner of its own.

    `tuner` is that of `ours`. After `calls` launches all sizes were met that are met at all.
    """

    plain: Launch
    stock: Launch
    ours: Launch
    tuner: Any
    calls: int = 1


@triton.jit(do_not_specialize=["T"])
def chunk_scale(
    q,
    k,
    v,
    g,
    o,
    cu_seqlens,
    scale,
    T,
    H: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
    BV: tl.constexpr,
    IS_VARLEN: tl.constexpr,
):
    i_v, i_t, i_h = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    rows = i_t * BT + tl.arange(0, BT)
    columns = i_v * BV + tl.arange(0, BV)
    mask = (rows[:, None] < T) & (columns[None, :] < V)
    at = (rows[:, None] * H + i_h) * V + columns[None, :]
    gates = tl.load(g + rows * H + i_h, mask=rows < T, other=0.0)
    values = tl.load(v + at, mask=mask, other=0.0) * tl.load(q + at, mask=mask, other=0.0)
    tl.store(o + at, values * scale * gates[:, None] + tl.load(k + at, mask=mask), mask=mask)


@triton.jit(do_not_specialize=["n"])
def scale_rows(x, y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.load(x + at, mask=at < n) * 2.0, mask=at < n)


def times(launch: Any) -> float | None:
    """What `chunk_scale` takes: the narrow tile is the faster one of few programs."""
    if launch.kernel != "chunk_scale":
        return None
    tile = launch.constants["BV"]
    fits = tile == (32 if launch.programs * tile // 32 < FEW_PROGRAMS else 64)
    return 0.01 * (1.0 if fits and launch.num_warps == 2 else 1.5)


def _chunks(sizes: Callable[[], Iterator[int]], calls: int, *, as_tuple: bool = False) -> Pattern:
    """Launches with the arguments of a linear-attention kernel, by name as such libraries do.

    `sizes` begins a sequence of numbers of tokens, of which the first `calls` are all that differ.
    """
    q, k, v, o = (torch.zeros(1, FEW, HEADS, DIM, dtype=torch.bfloat16) for _ in range(4))
    given = {
        "q": q,
        "k": k,
        "v": v,
        "g": torch.zeros(1, FEW, HEADS),
        "o": o,
        "cu_seqlens": None,
        "scale": 0.125,
        "H": HEADS,
        "K": DIM,
        "V": DIM,
        "BT": TILE,
        "IS_VARLEN": False,
    }
    narrow, _, wide, _ = [config.all_kwargs() for config in CHUNKS]
    tune = triton.autotune(configs=CHUNKS, key=["H", "K", "V", "BT", "IS_VARLEN"])
    stock, ours = tune(chunk_scale), tune(chunk_scale)

    def call(kernel: Any, tokens: int, constants: dict[str, int]) -> Any:
        def grid(meta: dict[str, Any]) -> tuple[int, int, int]:
            return triton.cdiv(DIM, meta["BV"]), (tokens + TILE - 1) // TILE, HEADS

        at = (4, tokens // TILE, HEADS) if as_tuple else grid
        return kernel[at](T=tokens, **given, **constants)

    def plain(tokens: int) -> Any:
        few = tokens < FEW_PROGRAMS  # there are as many programs as tokens
        return call(chunk_scale, tokens, narrow if few else wide)

    first, second, third = sizes(), sizes(), sizes()
    return Pattern(
        lambda: plain(next(first)),
        lambda: call(stock, next(second), {}),
        lambda: call(ours, next(third), {}),
        ours,
        calls,
    )


def _rows(
    sizes: Callable[[], Iterator[int]], *, key: list[str], of_tensor: bool = False
) -> Pattern:
    """Launches of a small kernel, by position; `of_tensor`: the grid asks a tensor for its size."""
    x, y = torch.zeros(65536), torch.zeros(65536)
    tune = triton.autotune(configs=ROWS, key=key)
    stock, ours = tune(scale_rows), tune(scale_rows)

    def call(kernel: Any, n: int, constants: dict[str, int]) -> Any:
        def by_number(meta: dict[str, Any]) -> tuple[int]:
            return (triton.cdiv(n, meta["BLOCK"]),)

        def by_tensor(meta: dict[str, Any]) -> tuple[int]:
            return (triton.cdiv(x.numel(), meta["BLOCK"]),)

        return kernel[by_tensor if of_tensor else by_number](x, y, n, **constants)

    first, second, third = sizes(), sizes(), sizes()
    call(stock, next(sizes()), {})
    best = stock.best_config.all_kwargs()
    return Pattern(
        lambda: call(scale_rows, next(first), best),
        lambda: call(stock, next(second), {}),
        lambda: call(ours, next(third), {}),
        ours,
    )


def make_realistic() -> Pattern:
    return _chunks(lambda: cycle([FEW]), 1)


def make_small() -> Pattern:
    return _rows(lambda: cycle([65536]), key=["n"])


def make_alternating() -> Pattern:
    return _chunks(lambda: cycle([FEW, MANY]), 2)


def make_lengths() -> Pattern:
    lengths = random.Random(1).sample(range(FEW, MANY), 200)
    return _chunks(lambda: cycle(lengths), len(lengths))


# As many lengths as are launched are of one work class from here on, for more than 2,000 rounds.
def make_new_lengths() -> Pattern:
    return _chunks(lambda: count(1_100_000), 1)


def make_new_lengths_small() -> Pattern:
    return _rows(lambda: count(1_100_000), key=[])


def make_tensor_grid() -> Pattern:
    return _rows(lambda: cycle([65536]), key=["n"], of_tensor=True)


def make_tuple_grid() -> Pattern:
    return _chunks(lambda: cycle([FEW]), 1, as_tuple=True)


PATTERNS: dict[str, Callable[[], Pattern]] = {
    "realistic": make_realistic,
    "small": make_small,
    "alternating": make_alternating,
    "lengths": make_lengths,
    "new lengths": make_new_lengths,
    "new lengths, small": make_new_lengths_small,
    "tensor grid": make_tensor_grid,
    "tuple grid": make_tuple_grid,
}
