"""Kernels in which one program goes along a row: sum, softmax, norm, scan, convolution."""

from __future__ import annotations

import triton.language as tl


def row_sum(
    x,
    out,
    rows,
    columns: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    row = tl.program_id(0) * TILE + tl.arange(0, TILE)
    begin = 0
    end = columns
    if FAULT == "first":
        begin = BLOCK
    if FAULT == "last":
        end = columns // BLOCK * BLOCK
    width = columns
    if FAULT == "stride":
        width = columns - 1
    total = tl.zeros((TILE,), tl.float32)
    if FAULT == "init":
        total += tl.load(out + row, mask=row < rows, other=0.0)
    stale = total * 0
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = (at >= begin) & (at < end)
        if FAULT == "shift":
            at += 1
        if FAULT == "mask":
            inside = at < columns + BLOCK
        place = row[:, None] * width + at[None, :]
        part = tl.sum(
            tl.load(x + place, mask=(row < rows)[:, None] & inside[None, :], other=0.0).to(
                tl.float32
            ),
            axis=1,
        )
        if FAULT == "restart":
            total = part
        elif FAULT == "stale":
            total += stale
        elif FAULT == "accumulator":
            total = (total + part).to(tl.bfloat16).to(tl.float32)
        elif FAULT == "lost":
            total += tl.where(start == BLOCK, 0.0, part)
        elif FAULT == "twice":
            total += tl.where(start == 0, 2 * part, part)
        else:
            total += part
        stale = part
    written = row < rows
    if FAULT == "tail":
        written = row < rows // TILE * TILE
    tl.store(out + row, total, mask=written)


def softmax(
    x,
    out,
    columns: tl.constexpr,
    BLOCK: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    if FAULT == "swap":
        row = tl.num_programs(0) - 1 - row
    source = x + row * columns
    if FAULT == "stride":
        source = x + row * (columns - 1)
    end = columns
    if FAULT == "last":
        end = columns // BLOCK * BLOCK
    most = tl.max(tl.full((BLOCK,), -1.0e4, tl.float32), axis=0)
    total = most * 0
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < end
        if FAULT == "mask":
            inside = at < columns + BLOCK
        part = 3.0 * tl.load(source + at, mask=inside, other=-1.0e4).to(tl.float32)
        more = tl.maximum(most, tl.max(part, axis=0))
        added = tl.sum(tl.exp(part - more), axis=0)
        if FAULT == "rescale":
            total += added
        elif FAULT == "restart":
            total = added
        elif FAULT == "lost":
            total = tl.where(start == 0, 0.0, total * tl.exp(most - more) + added)
        else:
            total = total * tl.exp(most - more) + added
        most = more
    written = columns
    if FAULT == "tail":
        written = columns // BLOCK * BLOCK
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        place = at
        if FAULT == "shift":
            place = at + 1
        part = tl.load(source + place, mask=at < columns, other=-1.0e4).to(tl.float32)
        part *= 3.0
        value = tl.exp(part - most) / total
        tl.store(out + tl.program_id(0) * columns + at, value, mask=at < written)


def layer_norm(
    x,
    weight,
    bias,
    out,
    columns: tl.constexpr,
    BLOCK: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    source = x + row * columns
    if FAULT == "stride":
        source = x + row * (columns + 1)
    end = columns
    if FAULT == "last":
        end = columns // BLOCK * BLOCK
    count = columns
    if FAULT == "count":  # that of whole blocks
        count = (columns + BLOCK - 1) // BLOCK * BLOCK
    parts = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        parts += tl.load(source + at, mask=at < end, other=0.0).to(tl.float32)
    mean = tl.sum(parts, axis=0) / count
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        part = tl.load(source + at, mask=at < columns, other=0.0).to(tl.float32) - mean
        if FAULT == "uncentred":
            part += mean
        if FAULT != "mask":  # else what is beyond the end is as far from the mean as zero is
            part = tl.where(at < columns, part, 0.0)
        if FAULT == "restart":
            squares = part * part
        elif FAULT == "lost":
            squares += tl.where(start == BLOCK, 0.0, part * part)
        else:
            squares += part * part
    scale = 1 / tl.sqrt(tl.sum(squares, axis=0) / count + 1.0e-5)
    written = columns
    if FAULT == "tail":
        written = columns // BLOCK * BLOCK
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        place = at
        if FAULT == "shift":
            place = at + 1
        w = tl.load(weight + place, mask=at < columns, other=0.0).to(tl.float32)
        if FAULT == "stale":
            w = tl.load(weight + at % BLOCK).to(tl.float32)
        b = tl.load(bias + at, mask=at < columns, other=0.0).to(tl.float32)
        part = tl.load(source + at, mask=at < columns, other=0.0).to(tl.float32)
        tl.store(out + row * columns + at, (part - mean) * scale * w + b, mask=at < written)


def scan(
    x,
    out,
    columns: tl.constexpr,
    BLOCK: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    source = x + row * columns
    if FAULT == "stride":
        source = x + row * (columns - 1)
    carry = tl.sum(tl.zeros((BLOCK,), tl.float32), axis=0)
    if FAULT == "init":
        carry += tl.load(out + row * columns)
    late = carry
    end = columns
    if FAULT == "last":
        end = columns // BLOCK * BLOCK
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        place = at
        if FAULT == "shift":
            place = at + 1
        part = tl.load(source + place, mask=at < columns, other=0.0).to(tl.float32)
        found = tl.cumsum(part, axis=0)
        if FAULT == "exclusive":
            found -= part
        if FAULT == "late":
            found += late
        elif FAULT != "restart":
            found += carry
        late = carry
        if FAULT == "lost":
            carry += tl.where(start == 0, 0.0, tl.sum(part, axis=0))
        else:
            carry += tl.sum(part, axis=0)
        tl.store(out + row * columns + at, found, mask=at < end)


def convolution(
    x,
    weight,
    out,
    T,
    D,
    WIDTH: tl.constexpr,
    BT: tl.constexpr,
    BD: tl.constexpr,
    FAULT: tl.constexpr,
    TURN: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Causal, along the first dimension."""
    first = tl.program_id(0)
    second = tl.program_id(1)
    if FAULT == "swap":
        first = tl.program_id(1)
        second = tl.program_id(0)
    t = first * BT + tl.arange(0, BT)
    d = second * BD + tl.arange(0, BD)
    total = tl.zeros((BT, BD), tl.float32)
    for w in range(WIDTH):
        past = t - w
        if FAULT == "shift":
            past = t - w - 1
        inside = past >= 0
        if FAULT == "mask":  # what is before the beginning is read
            inside = past >= -WIDTH
        if FAULT == "tile":  # and so is nothing of the tile before
            inside = past >= first * BT
        place = past[:, None] * D + d[None, :]
        if FAULT == "stride":
            place = past[:, None] * (D - 1) + d[None, :]
        mask = (inside & (past < T))[:, None] & (d < D)[None, :]
        part = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        scale = tl.load(weight + w * D + d, mask=d < D, other=0.0).to(tl.float32)
        if FAULT == "lost":
            scale = tl.where(w == WIDTH - 1, 0.0, scale)
        total += part * scale[None, :]
    written = t < T
    if FAULT == "tail":
        written = t < T // BT * BT
    mask = written[:, None] & (d < D)[None, :]
    tl.store(out + t[:, None] * D + d[None, :], total, mask=mask)
