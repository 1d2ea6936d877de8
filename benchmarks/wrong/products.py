"""Kernels with `tl.dot`: matrix products, of integers, split along K, and attention.

Triton's interpreter multiplies the bits of bfloat16 as if they were integers, so there (where
``TURN`` is not below zero) operands are made wider, which changes no product.
"""

from __future__ import annotations

import triton.language as tl


def matmul(
    a,
    b,
    c,
    M,
    N,
    K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    column = tl.program_id(1)
    if FAULT == "swap":
        row = tl.program_id(1)
        column = tl.program_id(0)
    m = row * BM + tl.arange(0, BM)
    n = column * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    begin = 0
    end = K
    if FAULT == "first":
        begin = BK
    if FAULT == "last":
        end = K // BK * BK
    width = N
    if FAULT == "stride":
        width = N - 1
    total = tl.zeros((BM, BN), tl.float32)
    stale = tl.load(
        a + m[:, None] * K + k[None, :], mask=(m < M)[:, None] & (k < K)[None, :], other=0.0
    )
    for start in range(0, K, BK):
        at = start + k
        inside = (at >= begin) & (at < end)
        if FAULT == "mask":
            inside = at < K + BK
        place = at
        if FAULT == "shift":
            place = at + 1
        left = tl.load(
            a + m[:, None] * K + at[None, :], mask=(m < M)[:, None] & inside[None, :], other=0.0
        )
        right = tl.load(
            b + place[:, None] * width + n[None, :],
            mask=inside[:, None] & (n < N)[None, :],
            other=0.0,
        )
        if TURN >= 0:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        if FAULT == "stale":
            total = tl.dot(stale.to(left.dtype), right, total)
        elif FAULT == "restart":
            total = tl.dot(left, right)
        elif FAULT == "lost":
            total = tl.where(start == BK, total, tl.dot(left, right, total))
        elif FAULT == "twice":
            total += tl.where(start == 0, 2.0, 1.0) * tl.dot(left, right)
        elif FAULT == "accumulator":
            total = tl.dot(left, right, total).to(tl.bfloat16).to(tl.float32)
        else:
            total = tl.dot(left, right, total)
        stale = left
    rows = m < M
    columns = n < N
    if FAULT == "tail":
        rows = m < M // BM * BM
    if FAULT == "edge":
        columns = n < N // BN * BN
    tl.store(c + m[:, None] * N + n[None, :], total, mask=rows[:, None] & columns[None, :])


def split_k(
    a,
    b,
    c,
    M,
    N,
    K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    SPLITS: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Adds to `c`, atomically."""
    row = tl.program_id(0)
    column = tl.program_id(1)
    split = tl.program_id(2)
    m = row * BM + tl.arange(0, BM)
    n = column * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    share = (K + SPLITS * BK - 1) // (SPLITS * BK) * BK
    end = share
    if FAULT == "more":  # the first step of the next split, too
        end += BK
    if FAULT == "last":
        end -= BK
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, (K + SPLITS * BK - 1) // (SPLITS * BK) * BK + BK, BK):
        at = split * share + start + k
        inside = (at < K) & (start + k < end)
        if FAULT == "mask":
            inside = (at < K + BK) & (start + k < end)
        left = tl.load(
            a + m[:, None] * K + at[None, :], mask=(m < M)[:, None] & inside[None, :], other=0.0
        )
        right = tl.load(
            b + at[:, None] * N + n[None, :], mask=inside[:, None] & (n < N)[None, :], other=0.0
        )
        if TURN >= 0:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        total = tl.dot(left, right, total)
    if FAULT == "twice":
        total *= tl.where(split == 0, 2.0, 1.0)
    mask = (m < M)[:, None] & (n < N)[None, :]
    if FAULT == "lost":
        mask = mask & (m * 0 + split > 0)[:, None]
    place = c + m[:, None] * N + n[None, :]
    if FAULT == "race":
        if TURN >= 0:
            mask = mask & (m * 0 + split != TURN % SPLITS)[:, None]
        tl.store(place, tl.load(place, mask=mask, other=0.0) + total, mask=mask)
    elif FAULT == "store":
        tl.store(place, total, mask=mask & (m * 0 + split == 0)[:, None])
    else:
        tl.atomic_add(place, total, mask=mask)


def integer_product(
    a,
    b,
    scale,
    c,
    M,
    N,
    K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Of int8, summed up in int32, and scaled by column."""
    row = tl.program_id(0)
    column = tl.program_id(1)
    if FAULT == "swap":
        row = tl.program_id(1)
        column = tl.program_id(0)
    m = row * BM + tl.arange(0, BM)
    n = column * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    begin = 0
    end = K
    if FAULT == "first":
        begin = BK
    if FAULT == "last":
        end = K // BK * BK
    total = tl.zeros((BM, BN), tl.int32)
    stale = tl.load(
        a + m[:, None] * K + k[None, :], mask=(m < M)[:, None] & (k < K)[None, :], other=0
    )
    for start in range(0, K, BK):
        at = start + k
        inside = (at >= begin) & (at < end)
        if FAULT == "mask":
            inside = at < K + BK
        place = at
        if FAULT == "shift":
            place = at + 1
        left = tl.load(
            a + m[:, None] * K + at[None, :], mask=(m < M)[:, None] & inside[None, :], other=0
        )
        right = tl.load(
            b + place[:, None] * N + n[None, :],
            mask=inside[:, None] & (n < N)[None, :],
            other=0,
        )
        if FAULT == "stale":
            total = tl.dot(stale, right, total)
        elif FAULT == "restart":
            total = tl.dot(left, right)
        elif FAULT == "accumulator":
            total = tl.dot(left, right, total).to(tl.int16).to(tl.int32)
        else:
            total = tl.dot(left, right, total)
        stale = left
    place = n
    if FAULT == "scale":
        place = n + 1
    factor = tl.load(scale + place, mask=n < N, other=0.0)
    rows = m < M
    if FAULT == "tail":
        rows = m < M // BM * BM
    tl.store(
        c + m[:, None] * N + n[None, :],
        total.to(tl.float32) * (0.001 * factor[None, :]),
        mask=rows[:, None] & (n < N)[None, :],
    )


def attention(
    q,
    k,
    v,
    out,
    T: tl.constexpr,
    D: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Causal, one head, with a softmax that is rescaled as it goes."""
    row = tl.program_id(0)
    m = row * BM + tl.arange(0, BM)
    d = tl.arange(0, D)
    source = m
    if FAULT == "swap":
        source = (tl.num_programs(0) - 1 - row) * BM + tl.arange(0, BM)
    queries = tl.load(q + source[:, None] * D + d[None, :], mask=(source < T)[:, None], other=0.0)
    most = tl.full((BM,), -1.0e30, tl.float32)
    total = tl.zeros((BM,), tl.float32)
    found = tl.zeros((BM, D), tl.float32)
    stale = tl.load(v + tl.arange(0, BN)[:, None] * D + d[None, :])
    if TURN >= 0:
        queries = queries.to(tl.float32)
        stale = stale.to(tl.float32)
    end = T
    if FAULT == "last":
        end = T // BN * BN
    for start in range(0, T, BN):
        n = start + tl.arange(0, BN)
        inside = n < end
        keys = tl.load(k + n[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        place = n
        if FAULT == "shift":
            place = n + 1
        values = tl.load(v + place[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        if TURN >= 0:
            keys = keys.to(tl.float32)
            values = values.to(tl.float32)
        scores = tl.dot(queries, tl.trans(keys))
        if FAULT != "scale":
            scores *= 0.125
        seen = m[:, None] >= n[None, :]
        if FAULT == "more":  # one key too many
            seen = m[:, None] + 1 >= n[None, :]
        if FAULT == "mask":  # and here all of the tile
            seen = (m[:, None] // BN) >= (n[None, :] // BN)
        scores = tl.where(seen & inside[None, :], scores, -1.0e30)
        more = tl.maximum(most, tl.max(scores, axis=1))
        weights = tl.exp(scores - more[:, None])
        again = tl.exp(most - more)
        added = tl.sum(weights, axis=1)
        if FAULT == "denominator":
            total += added
        else:
            total = total * again + added
        if FAULT == "rescale":
            again = again * 0 + 1
        weights = weights.to(v.dtype.element_ty).to(values.dtype)
        part = values
        if FAULT == "stale":
            part = stale
        if FAULT == "restart":
            found = tl.dot(weights, part)
        else:
            found = found * again[:, None] + tl.dot(weights, part)
        stale = values
        most = more
    rows = m < T
    if FAULT == "tail":
        rows = m < T // BM * BM
    tl.store(out + m[:, None] * D + d[None, :], found / total[:, None], mask=rows[:, None])
