"""Kernels that read and write in the ways that there are. Each is called for two keys at least."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from lab import floats, warps
from triton.tools.tensor_descriptor import TensorDescriptor


@triton.autotune(warps(2, 4, BLOCK=128), ["n"])
@triton.jit
def masked_add(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(x + i, mask=i < n, other=1.0) + tl.load(y + i, mask=i < n)
    tl.store(out + i, total, mask=i < n)


@triton.autotune(warps(1, 4, BLOCK=256), ["STREAM"])
@triton.jit
def modifiers(x, out, n, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if STREAM:
        value = tl.load(x + i, cache_modifier=".cg")
        tl.store(out + i, value, cache_modifier=".cs")
    else:
        value = tl.load(x + i, mask=i < n, eviction_policy="evict_last")
        value += tl.load(x + i, mask=i < n, volatile=True)
        tl.store(out + i, value, mask=i < n, cache_modifier=".wt")


@triton.autotune(warps(2, 4, ROWS=16, COLUMNS=32), ["columns", "stride"])
@triton.jit
def strided(x, out, rows, columns, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    for start in range(0, columns, COLUMNS):
        c = start + tl.arange(0, COLUMNS)[None, :]
        inside = (r < rows) & (c < columns)
        value = tl.load(x + r * columns + c * stride, mask=inside, other=0.0)
        tl.store(out + c * rows + r, value, mask=inside)


@triton.autotune(warps(4, 8, M=64, N=64), ["scale"])
@triton.jit
def host_descriptors(x, out, scale, M: tl.constexpr, N: tl.constexpr):
    row, column = tl.program_id(0) * M, tl.program_id(1) * N
    value = x.load([row, column])
    out.store([row, column], (value * scale).to(value.dtype))


@triton.autotune(warps(4, 8, M=32, N=64), ["n"])
@triton.jit
def device_descriptors(x, out, m, n, M: tl.constexpr, N: tl.constexpr):
    source = tl.make_tensor_descriptor(x, [m, n], [n, 1], [M, N])
    target = tl.make_tensor_descriptor(out, [m, n], [n, 1], [M, N])
    for column in range(0, n, N):
        value = source.load([tl.program_id(0) * M, column])
        target.store([tl.program_id(0) * M, column], -value)


@triton.autotune(warps(2, 4, BLOCK=128), [])
@triton.jit
def conversions(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if value.dtype.is_int():
        value = value // 3
    tl.store(out + i, value.to(out.dtype.element_ty), mask=i < n)


@triton.autotune(warps(1, 2, BLOCK=64), ["n"])
@triton.jit
def pointers(table, out, n, BLOCK: tl.constexpr):
    """The table holds addresses, as of a batch of matrices."""
    place = tl.load(table + tl.program_id(0)).to(tl.pointer_type(tl.float16))
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(tl.multiple_of(place, 16) + i, mask=i < n), mask=i < n)


@triton.autotune(warps(2, 4, BLOCK=128), ["SEM"])
@triton.jit
def atomics(x, out, lock, n, SEM: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    while tl.atomic_cas(lock, 0, 1, sem=SEM) == 1:
        pass
    tl.atomic_add(out, tl.sum(value, 0), sem=SEM, scope="gpu")
    tl.atomic_max(out + 1 + i, value, mask=i < n)
    tl.atomic_xchg(lock, 0)


@triton.autotune(warps(2, 4, BLOCK=64), ["BINS"])
@triton.jit
def gathered(x, index, out, BINS: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    place = tl.load(index + i)
    tl.store(out + i, tl.gather(tl.load(x + i), place, 0))
    tl.atomic_add(out + tl.arange(0, BINS), tl.histogram(place, BINS).to(tl.float32))


@triton.autotune(warps(2, 4, BLOCK=128), ["n"])
@triton.jit(do_not_specialize=["n", "step"], do_not_specialize_on_alignment=["x"])
def not_specialised(x, out, n, step, BLOCK: tl.constexpr):
    i = tl.program_id(0) * step + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + step, mask=i < n)


@triton.autotune(warps(2, 4, BLOCK=128), ["n"], reset_to_zero=["out"], restore_value=["x"])
@triton.jit
def in_place(x, out, bias, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if bias is not None:
        value += tl.load(bias + i, mask=i < n)
    tl.store(x + i, value, mask=i < n)
    tl.atomic_add(out, tl.sum(value, 0))


if hasattr(tl, "advance"):

    @triton.autotune(warps(2, 4, BLOCK=32), ["columns"])
    @triton.jit
    def block_pointers(x, out, rows, columns, BLOCK: tl.constexpr):
        source = tl.make_block_ptr(
            x, (rows, columns), (columns, 1), (tl.program_id(0) * BLOCK, 0), (BLOCK, BLOCK), (1, 0)
        )
        total = tl.zeros((BLOCK, BLOCK), tl.float32)
        for _ in range(0, columns, BLOCK):
            total += tl.load(source, boundary_check=(0, 1), padding_option="zero")
            source = tl.advance(source, (0, BLOCK))
        i = tl.arange(0, BLOCK)
        tl.store(out + i, tl.sum(total, 1))


def program_memory(recorder: Any) -> None:
    launch = recorder.launch
    x, y, out = floats(4096), floats(4096), floats(4096)
    half, byte = x.half(), x.to(torch.float8_e4m3fn)
    launch(masked_add, x, y, out, 4096)
    launch(masked_add, half, half, out, 1000)
    launch(modifiers, x, out, 4096, True)
    launch(modifiers, x, out, 4095, False)
    launch(strided, x, out, 64, 64, 1)
    launch(strided, x, out, 60, 63, 2)
    for dtype in (torch.float16, torch.bfloat16):
        described = TensorDescriptor.from_tensor(torch.zeros(128, 128, dtype=dtype), [64, 64])
        launch(host_descriptors, described, described, 2.0, grid=(2, 2))
    launch(device_descriptors, half, half, 64, 64)
    launch(device_descriptors, x, x, 32, 128)
    launch(conversions, byte, x.bfloat16(), 4096)
    launch(conversions, x.long(), x.int(), 4000)
    launch(conversions, x.bfloat16(), byte, 4096)
    launch(pointers, x.long(), half, 64)
    launch(pointers, x.long(), half, 50)
    launch(atomics, x, out, x.int(), 4096, "acq_rel")
    launch(atomics, x, out, x.int(), 4000, "relaxed")
    launch(gathered, x, x.int(), out, 16)
    launch(gathered, half, x.int(), out, 32)
    launch(not_specialised, x, out, 1024, 1)
    launch(not_specialised, x, out, 1000, 128)
    launch(in_place, x, out, None, 1024)
    launch(in_place, x, out, y, 1000)
    if hasattr(tl, "advance"):
        launch(block_pointers, x, out, 64, 64)
        launch(block_pointers, x, out, 60, 63)
