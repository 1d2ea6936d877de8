"""Two kernels, tuned once each, on a simulated GPU of the product that the command names.

With MADE-UP the second kernel's candidates are in no list: its pruning function makes them.

The second is called when nothing is left to do ahead. Prints, as JSON, for which kernels the main
thread has generated code.

Usage: ahead_child.py PRODUCT [MADE-UP]
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
from tuneonce.triton.seams import generators

tuneonce.install()

CONFIGS = [triton.Config({"BLOCK": block}, num_warps=w) for block in (32, 64) for w in (1, 2)]


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


def made_up(configs, named_args, **kwargs):
    for config in configs:
        yield triton.Config(config.kwargs, num_warps=config.num_warps, num_stages=5)


generated = []
generate = generators.generate


def watched(src, *args):
    if threading.current_thread() is threading.main_thread():
        generated.append(src.name)
    return generate(src, *args)


generators.generate = watched


def main(product: str, *pruned: str) -> None:
    if pruned:
        second.early_config_prune = made_up
    x = torch.zeros(4096)
    with SimulatedGPU(seed=3, product=product) as gpu:
        gpu.driver.get_benchmarker = lambda: triton.testing.do_bench
        first[lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)](x, x, 4096, 0.5)
        for thread in threading.enumerate():
            if thread.name == "tuneonce-ahead":
                thread.join()
        second[lambda meta: (triton.cdiv(4000, meta["BLOCK"]),)](x, x, None, 4000, tl.float32)
    print(json.dumps(sorted(set(generated))))


main(*sys.argv[1:])
