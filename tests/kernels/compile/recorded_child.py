"""Kernels, tuned once each; what the second and third compute their constants decide.

Prints, as JSON, the code that was launched for each.

Usage: recorded_child.py PRODUCT
"""

from __future__ import annotations

import json
import sys
import threading

import torch
import triton
import triton.language as tl
import triton.testing

import tuneonce
from tuneonce.testing import SimulatedGPU

tuneonce.install()

CONFIGS = [triton.Config({"BLOCK": 32}, num_warps=1), triton.Config({"BLOCK": 64}, num_warps=2)]


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.jit
def first(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.jit
def second(x, out, n, MODE: tl.constexpr, FLAG: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if MODE == 1:
        value += 111.0
    else:
        value += 222.0
    if FLAG:
        value += 333.0
    tl.store(out + i, value, mask=i < n)


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.jit
def third(x, out, n, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    for step in tl.static_range(STEPS):
        value += step
    tl.store(out + i, value, mask=i < n)


def main(product: str) -> None:
    x = torch.zeros(4096)
    grid = lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)  # noqa: E731
    with SimulatedGPU(seed=3, product=product) as gpu:
        gpu.driver.get_benchmarker = lambda: triton.testing.do_bench
        codes = [first[grid](x, x, 4096)]
        for thread in threading.enumerate():
            if thread.name == "tuneonce-ahead":
                thread.join()
        codes += [second[grid](x, x, 4096, 1, False), third[grid](x, x, 4096, 2)]
    print(json.dumps([str(code.asm["ttir"]) for code in codes]))


main(*sys.argv[1:])
