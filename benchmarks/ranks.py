"""Ranks that start together and meet the same cold keys: sharing the work, and each for itself.

Real compiles on the simulated GPU, whose launches take the time that they say. Every start has
directories of its own. Prints one JSON document.

    python benchmarks/ranks.py --out benchmarks/results/ranks.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl
import triton.testing
from documents import ROOT, give, vars_of

sys.path.insert(0, str(ROOT / "src"))

SCHEMA = "tuneonce.ranks/1"


@triton.jit
def scaled(x, out, n, m, KEY: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    for _ in tl.static_range(KEY):
        value = value * 1.5 + tl.exp(value)
    tl.store(out + i, value, mask=i < n)


def candidates(count: int) -> list[Any]:
    every = [(block, warps) for warps in (1, 2, 4, 8) for block in (32, 64, 128, 256, 512, 1024)]
    return [triton.Config({"BLOCK": b}, num_warps=w) for b, w in every[:count]]


def times(launch: Any) -> float:
    return float(0.05 * (1 + 0.001 * launch.constants["BLOCK"] / 32))


def rank(number: int, options: argparse.Namespace, home: Path) -> None:
    import tuneonce
    from tuneonce.testing import SimulatedGPU

    tuneonce.install()
    # Two values that change together: keys that differ in one alone would soon share a verdict.
    kernel = triton.autotune(candidates(options.candidates), ["KEY", "m"])(scaled)
    winners = {}
    with SimulatedGPU(do_bench=True, times=times, noise=0.1, seed=number, real_time=True):
        x = torch.zeros(4096)
        for key in range(1, options.keys + 1):
            kernel[lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)](x, x, 4096, 2 * key + 1, key)
            winners[key] = str(kernel.best_config)
    (home / f"winners-{number}.json").write_text(json.dumps(winners))
    tuneonce.uninstall()


def start(ranks: int, apart: str, options: argparse.Namespace) -> dict[str, Any]:
    """One start of so many ranks, which have imported everything already."""
    from tuneonce.events.log import read_processes

    with tempfile.TemporaryDirectory(prefix="ranks-") as directory:
        home = Path(directory)
        for name in ("tmp", "events"):
            (home / name).mkdir()
        os.environ |= {
            "TUNEONCE": "1",
            "TUNEONCE_STORE": str(home / "store"),
            "TUNEONCE_EVENTS": str(home / "events"),
            "TRITON_CACHE_DIR": str(home / "cache"),
            "TMPDIR": str(home / "tmp"),
            "TUNEONCE_TUNE_APART": apart,
            "TRITON_DEFAULT_FP_FUSION": "1",
        }
        tempfile.tempdir = None
        began = time.perf_counter()
        alive = []
        for number in range(ranks):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    rank(number, options, home)
                    status = 0
                finally:
                    os._exit(status)
            alive.append(pid)
        ended = [os.waitpid(pid, 0)[1] for pid in alive]
        seconds = time.perf_counter() - began
        if any(ended):
            raise SystemExit(f"ranks ended with {ended}")
        told = Counter[str]()
        waited = 0.0
        for process in read_processes(home / "events"):
            for event in process:
                told[str(event.get("e"))] += 1
                waited += event["seconds"] if event.get("e") == "wait" else 0.0
        winners = [json.loads(path.read_text()) for path in sorted(home.glob("winners-*.json"))]
        return {
            "ranks": ranks,
            "shared": not apart,
            "seconds": round(seconds, 2),
            "tunes": told["tune"],
            "measurements": told["measure"],
            "compiles": told["compile"],
            "binaries": len(list((home / "cache").glob("*/*.cubin"))),
            "waited_s": round(waited, 2),
            "keys": options.keys,
            "keys_with_one_winner": sum(
                len({one[key] for one in winners}) == 1 for key in winners[0]
            ),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--keys", type=int, default=6)
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2, help="shared, apart, shared, apart, ...")
    parser.add_argument(
        "--arms", nargs="+", choices=["shared", "apart"], default=["shared", "apart"]
    )
    options = parser.parse_args()
    from tuneonce.bench.machine import describe_machine, installed_versions

    document: dict[str, Any] = {
        "schema": SCHEMA,
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": vars_of(describe_machine()),
        "versions": installed_versions(),
        "starts": [],
    }
    for ranks in options.ranks:
        for _ in range(options.repeats):
            for arm in options.arms:
                found = start(ranks, "*" if arm == "apart" else "", options)
                document["starts"].append(found)
                print(found, file=sys.stderr, flush=True)
    give(document, options.out)


if __name__ == "__main__":
    main()
