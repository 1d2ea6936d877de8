"""What one launch costs in Python, as one JSON document on standard output.

    python benchmarks/launch_overhead.py [--rounds 100] > benchmarks/results/launch_overhead.json

On the simulated GPU, whose launcher does next to nothing, so that only Python is timed. Arms, one
after another in every round (A B C D A B C D ...), each a batch of launches of a key that is known:

plain            the JITFunction itself, with the winner's constants written out
stock            stock `Autotuner.run`
plain_installed  the JITFunction itself while tuneonce is installed
tuneonce         the autotuner while tuneonce is installed

tuneonce is installed and uninstalled in every round, outside the timed batches. Times are
microseconds of processor time per launch, so that other processes do not count; `added_us`
compares each arm with `plain` of the same round. Two kernels:
one with the arguments of a linear-attention kernel, called with keywords as such libraries do,
and a small one, called with positions. Both grids are lambdas with one `triton.cdiv`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import torch
import triton
import triton.language as tl
from documents import give

import tuneonce
from tuneonce.testing import SimulatedGPU

SCHEMA = "tuneonce.benchmark.launch_overhead/1"
Launch = Callable[[], Any]
UNTIMED = 10
"""Launches before each batch."""


@triton.jit(do_not_specialize=["T"])
def chunk_scale(
    q,
    k,
    v,
    g,
    o,
    cu_seqlens,
    scale,
    T,
    H: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
    BV: tl.constexpr,
    IS_VARLEN: tl.constexpr,
):
    i_v, i_t, i_h = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    rows = i_t * BT + tl.arange(0, BT)
    columns = i_v * BV + tl.arange(0, BV)
    mask = (rows[:, None] < T) & (columns[None, :] < V)
    at = (rows[:, None] * H + i_h) * V + columns[None, :]
    gates = tl.load(g + rows * H + i_h, mask=rows < T, other=0.0)
    values = tl.load(v + at, mask=mask, other=0.0) * tl.load(q + at, mask=mask, other=0.0)
    tl.store(o + at, values * scale * gates[:, None] + tl.load(k + at, mask=mask), mask=mask)


@triton.jit
def scale_rows(x, y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.load(x + at, mask=at < n) * 2.0, mask=at < n)


def make_realistic() -> tuple[Launch, Launch, Launch]:
    """Plain, stock and ours: three ways to launch, each with an autotuner of its own."""
    tokens, heads, dim, tile = 4096, 16, 128, 64
    q, k, v, o = (torch.zeros(1, tokens, heads, dim, dtype=torch.bfloat16) for _ in range(4))
    arguments = {
        "q": q,
        "k": k,
        "v": v,
        "g": torch.zeros(1, tokens, heads),
        "o": o,
        "cu_seqlens": None,
        "scale": 0.125,
        "T": tokens,
        "H": heads,
        "K": dim,
        "V": dim,
        "BT": tile,
        "IS_VARLEN": False,
    }
    configs = [triton.Config({"BV": bv}, num_warps=w) for bv in (32, 64) for w in (2, 4)]
    tune = triton.autotune(configs=configs, key=["H", "K", "V", "BT", "IS_VARLEN"])

    def grid(meta: dict[str, Any]) -> tuple[int, int, int]:
        return triton.cdiv(dim, meta["BV"]), tokens // tile, heads

    stock, ours = tune(chunk_scale), tune(chunk_scale)
    stock[grid](**arguments)
    best = stock.best_config.all_kwargs()
    return (
        lambda: chunk_scale[grid](**arguments, **best),
        lambda: stock[grid](**arguments),
        lambda: ours[grid](**arguments),
    )


def make_small() -> tuple[Launch, Launch, Launch]:
    n = 65536
    x, y = torch.zeros(n), torch.zeros(n)
    configs = [triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (2, 4)]
    tune = triton.autotune(configs=configs, key=["n"])

    def grid(meta: dict[str, Any]) -> tuple[int]:
        return (triton.cdiv(n, meta["BLOCK"]),)

    stock, ours = tune(scale_rows), tune(scale_rows)
    stock[grid](x, y, n)
    best = stock.best_config.all_kwargs()
    return (
        lambda: scale_rows[grid](x, y, n, **best),
        lambda: stock[grid](x, y, n),
        lambda: ours[grid](x, y, n),
    )


def timed(launch: Launch, batch: int) -> float:
    """Processor time per launch of one batch, in microseconds, after a few untimed launches."""
    for _ in range(UNTIMED):
        launch()
    began = time.thread_time_ns()
    for _ in range(batch):
        launch()
    return (time.thread_time_ns() - began) / batch / 1e3


def measure(launches: tuple[Launch, Launch, Launch], rounds: int, batch: int) -> dict[str, Any]:
    plain, stock, ours = launches
    samples: dict[str, list[float]] = {}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            samples.setdefault("plain", []).append(timed(plain, batch))
            samples.setdefault("stock", []).append(timed(stock, batch))
            if hasattr(tuneonce, "install"):
                tuneonce.install()
                try:
                    samples.setdefault("plain_installed", []).append(timed(plain, batch))
                    samples.setdefault("tuneonce", []).append(timed(ours, batch))
                finally:
                    tuneonce.uninstall()
    finally:
        gc.enable()
    added = {
        arm: summary([a - b for a, b in zip(values, samples["plain"], strict=True)])
        for arm, values in samples.items()
        if arm != "plain"
    }
    return {
        "us": {arm: summary(values) for arm, values in samples.items()},
        "added_us": added,
        "samples_us": {arm: [round(v, 2) for v in values] for arm, values in samples.items()},
    }


def summary(values: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10)
    median = statistics.median(values)
    return {"median": round(median, 2), "p20": round(tenths[1], 2), "p80": round(tenths[7], 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="rounds (default 100)")
    parser.add_argument("--batch", type=int, default=200, help="launches per arm and round")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds must be at least 2")

    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="launch-overhead-"))
        for name in [n for n in os.environ if n.startswith(("TUNEONCE", "TRITON_"))]:
            del os.environ[name]
        os.environ["TRITON_CACHE_DIR"] = scratch
        # Triton 3.9 warns unless this is set to what it does anyhow.
        os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        stack.enter_context(SimulatedGPU())
        kernels = {
            "realistic": measure(make_realistic(), args.rounds, args.batch),
            "small": measure(make_small(), args.rounds, args.batch),
        }
    document = {
        "schema": SCHEMA,
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": ["python", "benchmarks/launch_overhead.py", *sys.argv[1:]],
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": len(os.sched_getaffinity(0)),
        },
        "versions": {"torch": torch.__version__, "triton": triton.__version__},
        "rounds": args.rounds,
        "batch": args.batch,
        "kernels": kernels,
    }
    give(document, None)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
