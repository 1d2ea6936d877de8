"""Kernels of which each element has its place: scaling, the same in place, transposition."""

from __future__ import annotations

import triton.language as tl


def axpy(
    x,
    y,
    out,
    n,
    BLOCK: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    pid = tl.program_id(0)
    at = pid * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    source = at
    if FAULT == "shift":
        source = at + 1
    if FAULT == "tile":  # the one after it
        source = at + BLOCK
    if FAULT == "stride":
        source = at * 2 % n
    if FAULT == "swap":
        source = (tl.num_programs(0) - 1 - pid) * BLOCK + tl.arange(0, BLOCK)
    if FAULT == "tail":
        mask = at < n // BLOCK * BLOCK
    if FAULT == "hole":  # one program writes nothing
        mask = mask & (at // BLOCK != 1)
    total = 2.5 * tl.load(x + source, mask=mask, other=0.0).to(tl.float32)
    if FAULT == "lost":  # the second operand, of the first program
        total += tl.load(y + at, mask=mask & (at >= BLOCK), other=0.0).to(tl.float32)
    else:
        total += tl.load(y + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + at, total, mask=mask)


def scale_in_place(
    x,
    y,
    n,
    BLOCK: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    pid = tl.program_id(0)
    at = pid * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    source = at
    if FAULT == "shift":
        source = at + 1
    if FAULT == "stride":
        source = at * 2 % n
    if FAULT == "swap":
        source = (tl.num_programs(0) - 1 - pid) * BLOCK + tl.arange(0, BLOCK)
    if FAULT == "tail":
        mask = at < n // BLOCK * BLOCK
    scale = tl.load(y + source, mask=mask, other=0.0).to(tl.float32)
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32) * scale
    if FAULT == "twice":  # the first program
        value = tl.where(at < BLOCK, value * scale, value)
    if FAULT == "init":  # what was there is added to
        value += tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(x + at, value, mask=mask)


def transpose(
    x,
    out,
    M,
    N,
    BM: tl.constexpr,
    BN: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    column = tl.program_id(1)
    m = row * BM + tl.arange(0, BM)
    n = column * BN + tl.arange(0, BN)
    rows = m < M
    columns = n < N
    if FAULT == "tail":
        rows = m < M // BM * BM
    if FAULT == "edge":
        columns = n < N // BN * BN
    if FAULT == "hole":
        rows = rows & ((m >= BM) | (column + m * 0 != 1))
    mask = rows[:, None] & columns[None, :]
    source = m[:, None] * N + n[None, :]
    if FAULT == "shift":
        source += 1
    if FAULT == "stride":
        source = m[:, None] * (N - 1) + n[None, :]
    if FAULT == "tile":
        source = m[:, None] * N + (n[None, :] + BN) % N
    if FAULT == "mirror":  # the tile is read from its other end
        source = (row * BM + BM - 1 - tl.arange(0, BM))[:, None] * N + n[None, :]
    value = tl.load(x + source, mask=mask, other=0.0)
    tl.store(out + n[None, :] * M + m[:, None], value, mask=mask)
