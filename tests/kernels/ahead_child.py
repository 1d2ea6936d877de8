"""Two kernels, tuned once each, on a simulated GPU of the product that the command names.

Usage: ahead_child.py PRODUCT
"""

from __future__ import annotations

import sys

import torch
import triton
import triton.language as tl
import triton.testing

import tuneonce
from tuneonce.testing import SimulatedGPU

tuneonce.install()

CONFIGS = [triton.Config({"BLOCK": block}, num_warps=w) for block in (32, 64, 128) for w in (1, 2)]


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.jit
def first(x, out, n, scale: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * scale, mask=i < n)


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
@triton.jit
def second(x, out, bias, n, kind: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i) if EVEN else tl.load(x + i, mask=i < n)
    if bias is not None:
        value += tl.load(bias + i, mask=i < n)
    tl.store(out + i, tl.exp(value.to(kind)).to(tl.float32), mask=i < n)


def main(product: str) -> None:
    x = torch.zeros(4096)
    with SimulatedGPU(seed=3, product=product) as gpu:
        gpu.driver.get_benchmarker = lambda: triton.testing.do_bench
        first[lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)](x, x, 4096, 0.5)
        second[lambda meta: (triton.cdiv(4000, meta["BLOCK"]),)](x, x, None, 4000, tl.float32)


main(sys.argv[1])
