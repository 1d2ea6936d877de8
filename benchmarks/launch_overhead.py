"""What one launch costs in Python, as one JSON document on standard output.

    python benchmarks/launch_overhead.py [--rounds 60] > benchmarks/results/launch-overhead.json

On the simulated GPU, whose launcher does next to nothing, so that only Python is timed. Arms, one
after another in every round (A B C D E F A B C D E F ...), each a batch of launches of a known key:

plain            the JITFunction itself, with the winner's constants written out
stock            stock `Autotuner.run`
plain_installed  the JITFunction itself while tuneonce is installed
tuneonce         the autotuner while tuneonce is installed
one_class        that with ``TUNEONCE_WORK_CLASSES=0``: launches of all sizes have one winner
deterministic    that with ``TUNEONCE_DETERMINISTIC=1``, and a winner for each class

tuneonce is installed and uninstalled three times in every round, and has its winners from the
store, outside the timed batches. Times are microseconds of processor time per launch, so that other
processes do not count; `added_us` compares each arm with `plain` of the same round. `class_us` is
what it takes to find the winner of a launch's class where its key is found, without the launch;
null where the grid is evaluated for that; `class_deterministic_us` is the same in that arm.

Patterns (`launch_patterns.py`); all grids but the tuple are functions made for each launch:

realistic           the arguments of a linear-attention kernel, by name as such libraries give them
small               a small kernel, by position, with one `triton.cdiv` in its grid
alternating         realistic, two sizes in turn, of two work classes whose winners differ
lengths             realistic, 200 sizes of several classes that were all met
new lengths         realistic, each launch of a size that was never met, of a class that was
new lengths, small  the same of the small kernel, which is not tuned by size
tensor grid         small, with a grid that asks a tensor for its size, which cannot be remembered
tuple grid          realistic, with a tuple for a grid
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
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import torch
import triton
from documents import give
from launch_patterns import PATTERNS, Launch, Pattern, times

import tuneonce
from tuneonce.testing import SimulatedGPU

SCHEMA = "tuneonce.benchmark.launch_overhead/3"
UNTIMED = 10
"""Launches before each batch."""


def timed(launch: Launch, batch: int) -> float:
    """Processor time per launch of one batch, in microseconds, after a few untimed launches."""
    for _ in range(UNTIMED):
        launch()
    began = time.thread_time_ns()
    for _ in range(batch):
        launch()
    return (time.thread_time_ns() - began) / batch / 1e3


@contextlib.contextmanager
def installed(
    pattern: Pattern, *, work_classes: bool = True, deterministic: bool = False
) -> Iterator[None]:
    """While tuneonce is installed, and has met all sizes that are met more than once."""
    os.environ["TUNEONCE_WORK_CLASSES"] = str(int(work_classes))
    os.environ["TUNEONCE_DETERMINISTIC"] = str(int(deterministic))
    pattern.tuner.cache.clear()
    tuneonce.install()
    try:
        for _ in range(2 * pattern.calls):  # its winner is found, then that this size has it
            pattern.ours()
        yield
    finally:
        tuneonce.uninstall()


def measure(pattern: Pattern, rounds: int, batch: int) -> dict[str, Any]:
    samples: dict[str, list[float]] = {}

    def take(arm: str, launch: Launch) -> None:
        samples.setdefault(arm, []).append(timed(launch, batch))

    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            take("plain", pattern.plain)
            take("stock", pattern.stock)
            with installed(pattern):
                take("plain_installed", pattern.plain)
                take("tuneonce", pattern.ours)
                finding = finding_the_class(pattern)
                if finding is not None:
                    take("class", finding)
            with installed(pattern, work_classes=False):
                take("one_class", pattern.ours)
            with installed(pattern, deterministic=True):
                take("deterministic", pattern.ours)
                finding = finding_the_class(pattern)
                if finding is not None:
                    take("class_deterministic", finding)
    finally:
        gc.enable()
    of_class, fixed = (samples.pop(name, None) for name in ("class", "class_deterministic"))
    added = {
        arm: summary([a - b for a, b in zip(values, samples["plain"], strict=True)])
        for arm, values in samples.items()
        if arm != "plain"
    }
    return {
        "us": {arm: summary(values) for arm, values in samples.items()},
        "added_us": added,
        "class_us": None if of_class is None else summary(of_class),
        "class_deterministic_us": None if fixed is None else summary(fixed),
        "samples_us": {arm: [round(v, 2) for v in values] for arm, values in samples.items()},
    }


def finding_the_class(pattern: Pattern) -> Launch | None:
    """What `run` does to find the winner of the pattern's next launch once it has its key."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    pattern.tuner.run = lambda *args, **kwargs: calls.append((args, kwargs))
    pattern.ours()
    del pattern.tuner.run
    [(args, kwargs)] = calls
    _, key_of, of_shape = pattern.tuner._tuneonce_state.shapes[(len(args), *kwargs)]
    known = of_shape[key_of(args, kwargs)]
    if known.entries.get(known.size_of(args, kwargs)) is None:
        return None
    return lambda: known.entries.get(known.size_of(args, kwargs))


def summary(values: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10)
    median = statistics.median(values)
    return {"median": round(median, 2), "p20": round(tenths[1], 2), "p80": round(tenths[7], 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60, help="rounds (default 60)")
    parser.add_argument("--batch", type=int, default=200, help="launches per arm and round")
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds must be at least 2")

    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="launch-overhead-"))
        for name in [n for n in os.environ if n.startswith(("TUNEONCE", "TRITON_"))]:
            del os.environ[name]
        os.environ["TRITON_CACHE_DIR"] = scratch
        os.environ["HOME"] = scratch
        # Triton 3.9 warns unless this is set to what it does anyhow.
        os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        stack.enter_context(SimulatedGPU(times=times))
        kernels = {
            name: measure(PATTERNS[name](), args.rounds, args.batch) for name in args.patterns
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
