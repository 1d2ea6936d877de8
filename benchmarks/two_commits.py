"""The same benchmarks over two checkouts of this repository, in turn: prints one JSON document.

    git worktree add /tmp/before COMMIT
    python benchmarks/two_commits.py /tmp/before . > benchmarks/results/before-and-after.json

For a change that is to leave every figure as it was. Each turn runs every benchmark once in the one
checkout and then in the other, with this interpreter and its packages, and each script is the
checkout's own. Kept are the figures named in `BENCHMARKS`, one for each turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from documents import give

SCHEMA = "tuneonce.benchmark.two-commits/1"
SECONDS_OF_A_RUN = 1200.0


@dataclass(frozen=True)
class Benchmark:
    """A script with its options, and the figures to keep of its document."""

    arguments: tuple[str, ...]
    figures: Callable[[dict[str, Any]], dict[str, float]]
    writes_file: bool = False


def flow(document: dict[str, Any]) -> dict[str, float]:
    return {
        f"{kind}, {what}": launch[what]
        for kind, launch in document["launches"].items()
        for what in ("files", "functions", "calls", "changes_of_file")
    }


def launch_overhead(document: dict[str, Any]) -> dict[str, float]:
    return {
        f"{kernel}, {arm}, us": times["median"]
        for kernel, measured in document["kernels"].items()
        for arm, times in measured["us"].items()
    }


def resolve_keys(document: dict[str, Any]) -> dict[str, float]:
    return {"cold, s": document["cold"]["first_s"], "known, s": document["warm_median_s"]}


def import_time(document: dict[str, Any]) -> dict[str, float]:
    return {f"{arm}, ms": times["median"] for arm, times in document["cpu_ms"].items()}


def store_scaling(document: dict[str, Any]) -> dict[str, float]:
    return {
        f"{size['records']} records, {name}, us": timing["median"]
        for size in document["sizes"]
        for name, timing in size["timings"].items()
    }


def cold_tune(document: dict[str, Any]) -> dict[str, float]:
    return {f"{run['workload']}, {run['arm']}, s": run["calls_s"] for run in document["runs"]}


BENCHMARKS = {
    "flow": Benchmark((), flow),
    "launch_overhead": Benchmark(("--rounds", "40"), launch_overhead),
    "import_time": Benchmark(("--repeats", "20"), import_time),
    "resolve_keys": Benchmark(("--starts", "3"), resolve_keys),
    "store_scaling": Benchmark((), store_scaling),
    "cold_tune": Benchmark(
        ("--workloads", "fla", "--arms", "tuneonce", "--simulated"), cold_tune, writes_file=True
    ),
}


def run(checkout: Path, name: str, benchmark: Benchmark) -> dict[str, float]:
    """The figures of one run of one benchmark."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "document.json")
        command = [sys.executable, str(checkout / "benchmarks" / f"{name}.py")]
        done = subprocess.run(
            [*command, *([str(file)] if benchmark.writes_file else []), *benchmark.arguments],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{checkout}"},
            check=True,
            stdout=subprocess.PIPE,
            timeout=SECONDS_OF_A_RUN,
        )
        text = file.read_bytes() if benchmark.writes_file else done.stdout
    return benchmark.figures(json.loads(text))


def commit(checkout: Path) -> str:
    words = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    options = parser.parse_args()
    arms = {"before": options.before.resolve(), "after": options.after.resolve()}
    figures: dict[str, Any] = {}
    for turn in range(options.turns):
        for name in options.only:
            for arm, checkout in arms.items():
                print(f"turn {turn + 1}: {name}, {arm}", file=sys.stderr)
                for figure, value in run(checkout, name, BENCHMARKS[name]).items():
                    both = figures.setdefault(name, {}).setdefault(figure, {})
                    both.setdefault(arm, []).append(value)
    document = {
        "schema": SCHEMA,
        "command": f"python benchmarks/two_commits.py BEFORE AFTER --turns {options.turns}",
        "machine": {"python": platform.python_version(), "cpus": os.cpu_count()},
        "before": commit(arms["before"]),
        "after": commit(arms["after"]),
        "figures": figures,
    }
    give(document, None)


if __name__ == "__main__":
    main()
