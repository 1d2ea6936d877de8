"""Kernels, tuned once each; the second and third read globals that are set after the first.

Prints, as JSON, in which type the second computes, and what the third adds.

Usage: ahead_globals_child.py PRODUCT [DTYPE SHIFT]
"""

from __future__ import annotations

import json
import re
import sys
import threading

import torch
import triton
import triton.language as tl
import triton.testing

import tuneonce
from tuneonce.testing import SimulatedGPU

tuneonce.install()

ACC = tl.float32
SHIFT = tl.constexpr(1)
CONFIGS = [triton.Config({"BLOCK": 32}, num_warps=1), triton.Config({"BLOCK": 64}, num_warps=2)]


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.jit
def first(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.jit
def second(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n).to(ACC) + 1
    tl.store(out + i, value.to(tl.float32), mask=i < n)


@triton.autotune(configs=CONFIGS, key=["n"])
@triton.jit
def third(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + SHIFT, mask=i < n)


def main(product: str, dtype: str = "float32", shift: str = "1") -> None:
    global ACC, SHIFT
    x = torch.zeros(4096)
    with SimulatedGPU(seed=3, product=product) as gpu:
        gpu.driver.get_benchmarker = lambda: triton.testing.do_bench
        first[lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)](x, x, 4096)
        for thread in threading.enumerate():
            if thread.name == "tuneonce-ahead":
                thread.join()
        ACC, SHIFT = getattr(tl, dtype), tl.constexpr(int(shift))
        texts = [
            str(kernel[lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)](x, x, 4096).asm["ttir"])
            for kernel in (second, third)
        ]
    used = "float16" if "xf16>" in texts[0] else "float32"
    (added,) = set(re.findall(r"dense<(\d)\.0+e\+00>", texts[1]))
    print(json.dumps([used, added]))


main(*sys.argv[1:])
