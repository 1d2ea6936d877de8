"""Kernels that compute: dots, reductions, scans, sorts, libraries. Called for two keys at least."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from lab import blocks, floats, warps
from triton.language.extra import libdevice


@triton.autotune(warps(2, 4), ["n"])
@triton.heuristics({"BLOCK": lambda args: triton.next_power_of_2(args["n"])})
@triton.heuristics({"EVEN": lambda args: args["n"] == args["BLOCK"]})
@triton.jit
def softmax(x, out, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    i = tl.arange(0, BLOCK)
    row = x + tl.program_id(0) * n + i
    value = tl.load(row) if EVEN else tl.load(row, mask=i < n, other=-float("inf"))
    value = tl.exp(value.to(tl.float32) - tl.max(value.to(tl.float32), 0))
    value = value / tl.sum(value, 0)
    tl.store(out + tl.program_id(0) * n + i, value, mask=i < n)


@triton.autotune(
    [
        triton.Config({"K": 32}, num_warps=4, num_stages=2),
        triton.Config({"K": 64}, num_warps=4, num_stages=3),
        triton.Config({"K": 64}, num_warps=4, num_stages=4),
    ],
    ["k"],
)
@triton.jit
def matmul(a, b, c, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, kk = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    left, right = a + m[:, None] * k + kk[None, :], b + kk[:, None] * N + n[None, :]
    acc = tl.zeros((M, N), dtype=tl.float32)
    for start in range(0, tl.cdiv(k, K)):
        rest = k - start * K
        x = tl.load(left, mask=kk[None, :] < rest, other=0.0)
        y = tl.load(right, mask=kk[:, None] < rest, other=0.0)
        acc = tl.dot(x, y, acc)
        left += K
        right += K * N
    tl.store(c + m[:, None] * N + n[None, :], acc.to(c.dtype.element_ty))


@triton.autotune(warps(4, 8, M=32), ["PRECISION"])
@triton.jit
def dot_precision(a, b, c, PRECISION: tl.constexpr, M: tl.constexpr):
    i = tl.arange(0, M)
    at = i[:, None] * M + i[None, :]
    tl.store(c + at, tl.dot(tl.load(a + at), tl.load(b + at), input_precision=PRECISION))


@triton.autotune(warps(4, 8, M=64), [])
@triton.jit
def dot_narrow(a, b, c, M: tl.constexpr):
    i = tl.arange(0, M)
    at = i[:, None] * M + i[None, :]
    x, y = tl.load(a + at), tl.trans(tl.load(b + at))
    if x.dtype == tl.int8:
        tl.store(c + at, tl.dot(x, y, out_dtype=tl.int32))
    else:
        tl.store(c + at, tl.dot(x, y, out_dtype=tl.float32, max_num_imprecise_acc=32))


@triton.jit
def _decay(a, x, b, y):
    return a * b, x * b + y


@triton.autotune(warps(2, 4, BLOCK=64), ["REVERSE"])
@triton.jit
def scans(x, out, REVERSE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i).to(tl.float32)
    _, state = tl.associative_scan((value * 0.5, value), 0, _decay, reverse=REVERSE)
    if not REVERSE:
        state += tl.cumprod(value, 0)
    tl.store(out + i, tl.cumsum(state, 0, reverse=REVERSE))


@triton.autotune(warps(1, 2, BLOCK=32), ["DESCENDING"])
@triton.jit
def sorted_rows(x, out, DESCENDING: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.sort(tl.load(x + i), descending=DESCENDING)
    if DESCENDING:
        value = tl.flip(value, 0)
    tl.store(out + i, value)


@triton.jit
def _welford(mean_a, m2_a, count_a, mean_b, m2_b, count_b):
    delta = mean_b - mean_a
    count = count_a + count_b
    ratio = tl.where(count == 0, 0.0, count_b / count)
    return mean_a + delta * ratio, m2_a + m2_b + delta * delta * count_a * ratio, count


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def reductions(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0).to(tl.float32)
    weight = (i < n).to(tl.float32)
    mean, m2, count = tl.reduce((value, value * 0, weight), 0, _welford)
    top, where = tl.max(value, 0, return_indices=True)
    tl.store(out, mean + m2 / count + top + where + tl.argmin(value, 0))
    tl.store(out + 1, tl.xor_sum(i, 0))


@triton.autotune(warps(2, 4, BLOCK=64), ["KIND"])
@triton.jit
def libraries(x, out, KIND: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if KIND == "tanh":
        value = libdevice.tanh(value)
    elif KIND == "pow":
        value = libdevice.pow(value, value) + libdevice.rsqrt(value)
    tl.store(out + i, tl.erf(value) + tl.sigmoid(value) + tl.fma(value, value, value))


@triton.autotune(warps(2, 4, BLOCK=64), ["p"])
@triton.jit
def dropout(x, out, p, seed, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    keep = tl.rand(seed, i) > p
    tl.store(out + i, tl.where(keep, tl.load(x + i) / (1 - p), 0.0))


@triton.autotune(warps(2, 4, BLOCK=32), ["INTERLEAVE"])
@triton.jit
def shapes(x, out, INTERLEAVE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i[:, None] * BLOCK + i[None, :])
    pair = tl.reshape(tl.permute(value, (1, 0)), (BLOCK, BLOCK // 2, 2))
    left, right = tl.split(pair)
    if INTERLEAVE:
        both = tl.interleave(right, left)
    else:
        both = tl.reshape(tl.join(left, right), (BLOCK, BLOCK))
    tl.store(out + i[:, None] * BLOCK + i[None, :], both)


@triton.autotune(blocks(64, 128, num_warps=2), ["n"])
@triton.jit
def bits(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0)
    mixed = ((value << 3) ^ (value >> 2)) & 0xFF | tl.umulhi(value.to(tl.uint32), 77).to(tl.int32)
    tl.store(out + i, mixed % 7 + tl.cdiv(n, BLOCK), mask=(i < n) & (mixed != 3))


@triton.autotune(warps(4, 8, M=32, K=64), ["FORMAT"])
@triton.jit
def dot_scaled(a, a_scale, b, c, FORMAT: tl.constexpr, M: tl.constexpr, K: tl.constexpr):
    m, k, s = tl.arange(0, M), tl.arange(0, K), tl.arange(0, K // 32)
    x = tl.load(a + m[:, None] * K + k[None, :])
    y = tl.load(b + k[:, None] * M + m[None, :])
    scale = tl.load(a_scale + m[:, None] * (K // 32) + s[None, :])
    acc = tl.dot_scaled(x, scale, FORMAT, y, None, "bf16")
    tl.store(c + m[:, None] * M + m[None, :], acc)


def program_math(recorder: Any) -> None:
    launch = recorder.launch
    x, out = floats(16384), floats(16384)
    half, brain = x.half(), x.bfloat16()
    launch(softmax, x, out, 128)
    launch(softmax, half, out, 100)
    launch(matmul, half, half, half, 256, 64, 64)
    launch(matmul, brain, brain, x, 100, 64, 32)
    for precision in ("tf32", "ieee", "tf32x3"):
        launch(dot_precision, x, x, out, precision)
    launch(dot_narrow, x.to(torch.int8), x.to(torch.int8), x.int())
    launch(dot_narrow, *2 * [x.to(torch.float8_e5m2)], out)
    launch(scans, x, out, False)
    launch(scans, half, out, True)
    launch(sorted_rows, x, out, False)
    launch(sorted_rows, x.int(), out, True)
    launch(reductions, x, out, 64)
    launch(reductions, half, out, 60)
    launch(libraries, x, out, "tanh")
    launch(libraries, x, out, "pow")
    launch(dropout, x, out, 0.5, 7)
    launch(dropout, half, out, 0.25, 16)
    launch(shapes, x, out, True)
    launch(shapes, half, half, False)
    launch(bits, x.int(), x.int(), 4096)
    launch(bits, x.int(), x.int(), 4001)
    launch(dot_scaled, x.to(torch.float8_e4m3fn), x.byte(), brain, out, "e4m3")
    launch(dot_scaled, x.to(torch.float8_e5m2), x.byte(), brain, out, "e5m2")
