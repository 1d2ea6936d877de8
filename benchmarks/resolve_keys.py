"""How long 1,000 known keys take at a start, as one JSON document on standard output.

    python benchmarks/resolve_keys.py [--keys 1000] > benchmarks/results/resolve_keys.json

On the simulated GPU: a first process tunes the keys, then fresh processes meet them all again, one
launch each. The time of a start is the sum over its launches, kernel compile excluded (one call
with a key of its own comes first). The floor is the same number of launches of known keys.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from documents import give

SCHEMA = "tuneonce.benchmark.resolve_keys/1"


def child(keys: int) -> dict[str, Any]:
    """One start: seconds for the keys, and for as many launches of known keys."""
    import torch
    import triton
    import triton.language as tl

    import tuneonce
    from tuneonce.testing import SimulatedGPU

    SimulatedGPU().install()
    tuneonce.install()
    configs = [triton.Config({"B": b}, num_warps=w) for b in (64, 128, 256, 512) for w in (2, 4, 8)]

    @triton.autotune(configs=configs, key=["n"])
    @triton.jit(do_not_specialize=["n"])
    def add(x, y, n, B: tl.constexpr):
        i = tl.program_id(0) * B + tl.arange(0, B)
        tl.store(y + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

    x, y = torch.zeros(1), torch.zeros(1)

    def launch(n: int) -> None:
        add[lambda meta: (triton.cdiv(n, meta["B"]),)](x, y, n)

    launch(7)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        for n in range(100_000, 100_000 + keys):
            launch(n)
        seconds.append(time.perf_counter() - began)
    return {"keys": keys, "candidates": len(configs), "first_s": seconds[0], "again_s": seconds[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.keys)))
        return
    with tempfile.TemporaryDirectory() as directory:
        environment = {
            **os.environ,
            "TUNEONCE": "1",
            "TUNEONCE_STORE": str(Path(directory) / "store"),
            "TRITON_CACHE_DIR": str(Path(directory) / "triton"),
        }
        runs = []
        for _ in range(1 + args.starts):
            command = [sys.executable, __file__, "--child", "--keys", str(args.keys)]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            runs.append(json.loads(done.stdout))
    warm_s = statistics.median_high(run["first_s"] for run in runs[1:])
    document = {
        "schema": SCHEMA,
        "command": ["python", "benchmarks/resolve_keys.py", *sys.argv[1:]],
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "cold": runs[0],
        "warm": runs[1:],
        "warm_median_s": warm_s,
        "per_key_us": warm_s / args.keys * 1e6,
    }
    give(document, None)


if __name__ == "__main__":
    main()
