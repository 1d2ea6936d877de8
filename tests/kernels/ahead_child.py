"""Two kernels, tuned once each, on a simulated GPU of the product that the command names.

With MADE-UP the second kernel's candidates are in no list: its pruning function makes them.

The second is called when nothing is left to do ahead. Prints, as JSON, for which kernels the main
thread has generated code.

With LATE the kernels are imported when there is a device, as a server does that has not yet loaded
its weights, and the first is called when nothing is left to do ahead, too. With MOVES Triton's
cache is another directory from then on; with CHANGES a global that both kernels read is another
before each is called.

Usage: ahead_child.py PRODUCT [MADE-UP|LATE [MOVES|CHANGES]]
"""

from __future__ import annotations

import json
import os
import sys
import threading

import torch
import triton
import triton.language as tl
import triton.testing

import tuneonce
from tuneonce.testing import SimulatedGPU
from tuneonce.triton import remake


def made_up(configs, named_args, **kwargs):
    for config in configs:
        yield triton.Config(config.kwargs, num_warps=config.num_warps, num_stages=5)


generated = []
generate = remake.generate


def watched(src, *args):
    if threading.current_thread() is threading.main_thread():
        generated.append(src.name)
    return generate(src, *args)


remake.generate = watched


def await_ahead():
    for thread in threading.enumerate():
        if thread.name == "tuneonce-ahead":
            thread.join()


def main(product: str, mode: str = "", then: str = "") -> None:
    x = torch.zeros(4096)
    if mode != "LATE":
        tuneonce.install()
        import ahead_kernels
    with SimulatedGPU(seed=3, product=product) as gpu:
        if mode == "LATE":
            tuneonce.install()
            import ahead_kernels

            await_ahead()
        if then == "MOVES":
            os.environ["TRITON_CACHE_DIR"] += "-moved"
        if then == "CHANGES":
            ahead_kernels.SHIFT = tl.constexpr(2)
        first, second = ahead_kernels.first, ahead_kernels.second
        if mode == "MADE-UP":
            second.early_config_prune = made_up
        gpu.driver.get_benchmarker = lambda: triton.testing.do_bench
        first[lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)](x, x, 4096, 0.5)
        await_ahead()
        if then == "CHANGES":
            ahead_kernels.SHIFT = tl.constexpr(3)
        second[lambda meta: (triton.cdiv(4000, meta["BLOCK"]),)](x, x, None, 4000, tl.float32)
    print(json.dumps(sorted(set(generated))))


main(*sys.argv[1:])
