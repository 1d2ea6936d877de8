"""Cold and warm starts of the FLA workload: stock Triton, its disk cache, and tuneonce.

Every start is a new process of `fla_workload.py`. Each arm of each repeat has directories of its
own (Triton's cache, our store, HOME), empty at its first start and kept for the next. Arms take
turns within every start, so that a machine that slows down slows down all of them.

    python benchmarks/fla_restart.py --repeats 3 --out benchmarks/results/fla_restart.json
    python benchmarks/fla_restart.py --simulated --arms tuneonce --starts 2

On one H200 a cold start takes one to two minutes, so three arms and two starts take about six.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from documents import give

SCHEMA = "tuneonce.fla-restart/1"
ROOT = Path(__file__).resolve().parents[1]

# FLA passes cache_results=True to every autotuner of its own, whatever Triton's variable says, so
# stock Triton without its cache needs FLA's variable as well.
ARMS: dict[str, dict[str, str]] = {
    "stock": {"TUNEONCE": "0", "TRITON_CACHE_AUTOTUNING": "0", "FLA_CACHE_RESULTS": "0"},
    "stock-cache": {"TUNEONCE": "0", "TRITON_CACHE_AUTOTUNING": "1"},
    "tuneonce": {"TUNEONCE": "1"},
}
STEERING = ("TUNEONCE", "TRITON_", "FLA_")


def environment_of(arm: str, home: Path) -> dict[str, str]:
    """That of a process of an arm, with all that it keeps below `home`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(STEERING)}
    return environment | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TRITON_CACHE_DIR": str(home / "triton"),
        "TUNEONCE_STORE": str(home / "store"),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])
        ),
        # Triton 3.9 warns unless this is set to what it does anyhow; others do not know it.
        "TRITON_DEFAULT_FP_FUSION": "1",
        **ARMS[arm],
    }


def start(arm: str, home: Path, options: list[str]) -> dict[str, Any]:
    """One process of the workload. Raises SystemExit with its last words if it fails."""
    home.mkdir(parents=True, exist_ok=True)
    environment = environment_of(arm, home)
    out = home / "workload.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks/fla_workload.py"), "--out", str(out)]
    began = time.perf_counter()
    done = subprocess.run(
        command + options, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{arm}: exit {done.returncode}\n{done.stderr[-3000:]}")
    document: dict[str, Any] = json.loads(out.read_text())
    return {"process_s": seconds, **document}


def machine() -> dict[str, Any]:
    about: dict[str, Any] = {
        "system": platform.platform(),
        "cpu_count": os.cpu_count(),
        "cpus_available": len(os.sched_getaffinity(0)),
    }
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        about["cpu"] = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
        query = "--query-gpu=name,driver_version,memory.total,power.limit"
        about["gpus"] = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    except (OSError, StopIteration, subprocess.CalledProcessError):
        pass  # what the machine does not tell is left out
    return about


def agreement(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How many winners of later starts equal those of the same arm's first start."""
    first = {(run["arm"], run["repeat"]): run["winners"] for run in runs if run["start"] == 1}
    found: dict[str, Any] = {}
    for run in runs:
        if run["start"] == 1 or (run["arm"], run["repeat"]) not in first:
            continue
        before = first[run["arm"], run["repeat"]]
        pairs = [(kernel, key) for kernel, keys in run["winners"].items() for key in keys]
        same = sum(before.get(k, {}).get(key) == run["winners"][k][key] for k, key in pairs)
        name = f"{run['arm']} start {run['start']} repeat {run['repeat']}"
        found[name] = {"same": same, "of": len(pairs)}
    return found


def line(run: dict[str, Any]) -> str:
    counts = run["totals"]
    return (
        f"{run['arm']:12} start {run['start']} repeat {run['repeat']}:"
        f" process {run['process_s']:6.1f} s, calls {run['calls_s']:7.2f} s,"
        f" tuning {run['tune_s']:6.2f} s; {counts['tuned_keys']} keys tuned,"
        f" {counts['candidates']} candidates, {counts['compiles']} compiles,"
        f" {counts['disk_loads']} disk loads"
        + (", Triton's cache emptied" if run["emptied"] else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--starts", type=int, default=2, help="starts per arm; the first is cold")
    parser.add_argument("--repeats", type=int, default=1, help="times, each from empty directories")
    parser.add_argument(
        "--emptied", action="store_true", help="and one more, with Triton's cache emptied before"
    )
    parser.add_argument("--simulated", action="store_true", help="use the simulated GPU")
    parser.add_argument("--small", action="store_true", help="one dense and one packed call")
    parser.add_argument("--again", type=int, default=5, help="repeats of each call, when tuned")
    parser.add_argument("--out", type=Path, help="write the document here instead of to stdout")
    args = parser.parse_args()
    options = ["--again", str(args.again)]
    options += [f"--{name}" for name in ("simulated", "small") if getattr(args, name)]

    runs = []
    began = datetime.datetime.now(datetime.timezone.utc)
    with tempfile.TemporaryDirectory(prefix="fla-restart-") as scratch:
        for repeat in range(1, args.repeats + 1):
            for number in range(1, args.starts + args.emptied + 1):
                emptied = number > args.starts
                for arm in args.arms:
                    home = Path(scratch) / f"{arm}-{repeat}"
                    if emptied:
                        shutil.rmtree(home / "triton")
                    result = start(arm, home, options)
                    about = {"arm": arm, "start": number, "repeat": repeat, "emptied": emptied}
                    runs.append({**about, **result})
                    print(line(runs[-1]), file=sys.stderr, flush=True)
    document = {
        "schema": SCHEMA,
        "when": began.isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": machine(),
        "gpu": runs[0]["gpu"],
        "versions": runs[0]["versions"],
        "arms": {arm: ARMS[arm] for arm in args.arms},
        "winners_kept": agreement(runs),
        "runs": runs,
    }
    give(document, args.out)


if __name__ == "__main__":
    main()
