"""What exploring adds to a launch in Python, as one JSON document on standard output.

    python benchmarks/explore_overhead.py [--rounds 100] > benchmarks/results/explore_overhead.json

On the simulated GPU, whose launcher and events do next to nothing, so that only Python is timed; on
a real device two events are recorded, one is asked and one is read, besides. Arms, one after
another in every round, each a batch of launches:

plain      the JITFunction itself, with the winner's constants written out
stock      stock `Autotuner.run`
known      a key whose winner is known
exploring  a key that is being explored: half of the launches run another candidate, all are timed
           as far as that is bounded

Times are microseconds of the launching thread's processor time per launch; `added_us` compares each
arm with `known` of the same round. Kernels and summaries are those of `launch_overhead.py`. That
the exploration does not end, its judgement is left out, which another thread makes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import sys
import tempfile
from datetime import datetime, timezone
from typing import Any

import torch
import triton
from documents import give
from launch_overhead import Launch, make_realistic, make_small, summary, timed

import tuneonce
from tuneonce.activation import install
from tuneonce.testing import SimulatedGPU

SCHEMA = "tuneonce.benchmark.explore_overhead/1"


def measure(make: Any, rounds: int, batch: int) -> dict[str, Any]:
    _, _, known = make()
    plain, stock, exploring = make()
    samples: dict[str, list[float]] = {}
    os.environ["TUNEONCE_ON_MISS_STARTING"] = "tune"
    tuneonce.install()
    known()
    tuneonce.uninstall()
    os.environ["TUNEONCE_ON_MISS_STARTING"] = "explore"
    os.environ["TUNEONCE_STORE"] = "memory:"
    tuneonce.install()
    try:
        known_again(known)
        begin(exploring)
        gc.collect()
        gc.disable()
        for _ in range(rounds):
            for arm, launch in (("plain", plain), ("known", known), ("exploring", exploring)):
                samples.setdefault(arm, []).append(timed(launch, batch))
    finally:
        gc.enable()
        tuneonce.uninstall()
    samples["stock"] = [timed(stock, batch) for _ in range(rounds)]
    added = {
        arm: summary([a - b for a, b in zip(values, samples["known"], strict=True)])
        for arm, values in samples.items()
        if arm != "known"
    }
    return {
        "us": {arm: summary(values) for arm, values in samples.items()},
        "added_us": added,
        "samples_us": {arm: [round(v, 2) for v in values] for arm, values in samples.items()},
    }


def known_again(launch: Launch) -> None:
    """The autotuner has its winner since it was tuned: no exploration begins."""
    launch()
    assert not explorations()._keys, "the key is explored that should be known"


def explorations() -> Any:
    installation: Any = install._installed
    return installation.hook._cold_path.exploration


def begin(launch: Launch) -> None:
    """Launch until all candidates run in passes, and let that go on for ever."""
    launch()
    found = explorations()
    [key] = found._keys
    exploration, background = key.exploration, found._background
    decide = exploration.decide
    exploration.decide = lambda: decide() if exploration._finals is None else in_passes()

    def in_passes() -> None:
        exploration.due = False
        exploration._passes.take()

    assert background.wait_until(lambda: key.supply is not None and key.supply.empty, 60.0)
    while exploration._finals is None:
        launch()
        background.wait_until(lambda: not background._due, 60.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="rounds (default 100)")
    parser.add_argument("--batch", type=int, default=200, help="launches per arm and round")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds must be at least 2")
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="explore-overhead-"))
        for name in [n for n in os.environ if n.startswith(("TUNEONCE", "TRITON_"))]:
            del os.environ[name]
        os.environ["TRITON_CACHE_DIR"] = scratch
        os.environ["HOME"] = scratch
        # Triton 3.9 warns unless this is set to what it does anyhow.
        os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"
        os.environ["TUNEONCE_RAISE"] = "1"
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        kernels = {}
        # All candidates take equally long, so that all of them go on to the passes.
        for name, make in (("realistic", make_realistic), ("small", make_small)):
            with SimulatedGPU(do_bench=True, times=lambda launch: 0.01):
                kernels[name] = measure(make, args.rounds, args.batch)
    document = {
        "schema": SCHEMA,
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": ["python", "benchmarks/explore_overhead.py", *sys.argv[1:]],
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
