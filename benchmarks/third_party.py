"""Kernels of published packages, cold and then warm: which keys does tuneonce keep?

Each package's workload (``tests/kernels/third_party/*_calls.py``) runs in three processes: with
tuneonce and empty directories, with tuneonce again, and with stock Triton. The simulated GPU's
times differ between the first two, so winners that are equal were kept; they are equal between the
first and the last, so stock Triton must find the winners that tuneonce found. Prints one JSON
document.

    python benchmarks/third_party.py --out benchmarks/results/third-party.json
    python benchmarks/third_party.py --table benchmarks/results/third-party.json   # docs/kernels.md

Packages that are not installed are named and left out. Install them without what they depend on,
which would move torch and triton: ``pip install --no-deps`` and the pins of the committed document.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from documents import give

ROOT = Path(__file__).resolve().parents[1]
WORKLOADS = ROOT / "tests/kernels/third_party"
SCHEMA = "tuneonce.third-party/1"

sys.path[:0] = [str(ROOT / "src"), str(WORKLOADS)]

OWN_TUNER = "kept by the package's own tuner"
ONE_CANDIDATE = "one candidate, nothing to tune"

# The processes of a run, in their order: their environment and their options. FLA passes
# cache_results=True to its own autotuners whatever Triton's variable says.
# Launches are compared, and looks are some.
OURS = {"TUNEONCE": "1", "TUNEONCE_NUMERICS": "off"}
STOCK = {"TUNEONCE": "0", "TRITON_CACHE_AUTOTUNING": "0", "FLA_CACHE_RESULTS": "0"}
ARMS: dict[str, tuple[dict[str, str], list[str]]] = {
    "cold": (OURS, ["--seed", "0"]),
    "warm": (OURS, ["--seed", "1"]),
    "stock": (STOCK, ["--seed", "0", "--everything"]),
}
STEERING = ("TUNEONCE", "TRITON_", "FLA_", "CCE_", "GEMS_", "FLAGGEMS_", "MAMBA_", "LIGER_")


def names() -> list[str]:
    """The workloads, in the order of the table."""
    return sorted(path.name.removesuffix("_calls.py") for path in WORKLOADS.glob("*_calls.py"))


def installed(workload: Any) -> bool:
    return importlib.util.find_spec(workload.MODULE) is not None


def new_process(
    program: Path, *arguments: str, env: Mapping[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """What came of a program in a Python of its own."""
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


Runner = Callable[..., "subprocess.CompletedProcess[str]"]
"""As `new_process`."""


def start(
    name: str, arm: str, home: Path, options: list[str], runner: Runner = new_process
) -> dict[str, Any]:
    """One process of a workload. Raises SystemExit with its last words if it fails."""
    arm_environment, arm_options = ARMS[arm]
    own = home / ("stock" if arm == "stock" else "tuneonce")
    own.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(STEERING)}
    environment |= {
        "HOME": str(own),  # some packages keep results of their own there
        "XDG_CACHE_HOME": str(own / "cache"),
        "TRITON_CACHE_DIR": str(home / "triton"),
        "TUNEONCE_STORE": str(home / "store"),
        "TUNEONCE_EVENTS": str(home / f"events-{arm}"),
        "TUNEONCE_RAISE": "1",
        "PYTHONPATH": str(ROOT / "src"),
        # Triton 3.9 warns unless this is set to what it does anyhow; others do not know it.
        "TRITON_DEFAULT_FP_FUSION": "1",
        **arm_environment,
    }
    program = WORKLOADS / "child.py"
    began = time.perf_counter()
    done = runner(program, name, *arm_options, *options, env=environment, cwd=own)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{name}, {arm}: exit {done.returncode}\n{done.stderr[-3000:]}")
    document: dict[str, Any] = json.loads(done.stdout)
    # Triton's listener heard what was compiled in the process, and loads of what helpers compiled.
    for compiled_s in compiled_elsewhere(home / f"events-{arm}"):
        document["compiles"] += 1
        document["compile_s"] = round(document["compile_s"] + compiled_s, 3)
    return {"process_s": round(seconds, 2), **document}


def compiled_elsewhere(events: Path) -> list[float]:
    """Seconds of every compilation that a helper of the process did."""
    from tuneonce.events.log import read_processes

    return [
        event["seconds"]
        for process in read_processes(events)
        for event in process
        if event.get("e") == "compile" and event.get("ahead")
    ]


def reasons(events: Path) -> dict[str, str]:
    """Why keys of a kernel were not persisted, by kernel, as tuneonce itself says."""
    from tuneonce.events.log import read_processes

    return {
        event["kernel"]: event["reason"]
        for process in read_processes(events)
        for event in process
        if event.get("e") == "resolve" and event.get("outcome") == "not_persisted"
    }


def verdicts(
    cold: dict[str, Any], warm: dict[str, Any], why: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """What became of the keys of each kernel: how many are persisted, and why the others are not.

    A key that the second process met and did not measure is persisted. One that it did not meet
    was answered before tuneonce could be asked. Two autotuners over one kernel count twice.
    """
    kernels: dict[str, dict[str, Any]] = {}
    for kernel, seen in cold["kernels"].items():
        again = warm["kernels"].get(kernel, {"keys": {}, "measured": {}})
        label = kernel.partition(" ")[0]  # less the number of its autotuner
        others: dict[str, int] = {}
        persisted = 0
        for key, candidates in seen["keys"].items():
            if candidates == 1 and key not in seen["measured"]:
                reason = ONE_CANDIDATE
            elif key not in again["keys"]:
                reason = OWN_TUNER
            elif key not in again["measured"] and label not in why:
                persisted += 1
                continue
            else:
                reason = why.get(label, "measured again")
            others[reason] = others.get(reason, 0) + 1
        kernels[kernel] = {
            "tuner": seen["tuner"],
            "keys": len(seen["keys"]),
            "candidates": list(seen["keys"].values()),
            "persisted": persisted,
            "not_persisted": others,
        }
    return kernels


def examine(
    name: str,
    *,
    at_most: int | None,
    gpu: bool,
    short: bool = False,
    runner: Runner = new_process,
) -> dict[str, Any]:
    """All processes of one workload, each started by `runner`, and what they say together."""
    from tuneonce.events import totals

    workload = importlib.import_module(f"{name}_calls")
    options = ["--gpu"] if gpu else []
    options += ["--at-most", str(at_most)] if at_most else []
    options += ["--short"] if short else []
    with tempfile.TemporaryDirectory(prefix="third-party-") as scratch:
        home = Path(scratch)
        runs = {arm: start(name, arm, home, options, runner) for arm in ARMS}
        cold, warm, stock = runs.values()
        kernels = verdicts(cold, warm, reasons(home / "events-cold"))
        problems = totals.summarise(home / "events-cold").problems
        problems |= totals.summarise(home / "events-warm").problems
    not_persisted: dict[str, int] = {}
    for kernel in kernels.values():
        for reason, count in kernel["not_persisted"].items():
            not_persisted[reason] = not_persisted.get(reason, 0) + count
    costs = ("import_s", "calls_s", "candidates_measured", "compiles", "compile_s", "disk_loads")
    return {
        "package": cold["package"],
        "version": cold["version"],
        "limits": workload.LIMITS,
        "at_most": cold["at_most"],
        "everything": stock["everything"],
        "autotuners": cold["autotuners"],
        "kernels_met": len(kernels),
        "keys": sum(kernel["keys"] for kernel in kernels.values()),
        "persisted": sum(kernel["persisted"] for kernel in kernels.values()),
        "not_persisted": not_persisted,
        "problems": problems,
        "winners_kept": warm["winners"] == cold["winners"],
        "winners_of_stock": None if gpu else stock["winners"] == cold["winners"],
        # Launches, and what hooks write around them: while it tunes, and when it is tuned.
        "launches_as_stock": cold["rounds"]["first"]["launches"]
        == stock["rounds"]["first"]["launches"],
        "tuning_as_stock": cold["rounds"]["first"] == stock["rounds"]["first"],
        "steady_as_stock": cold["rounds"]["again"] == stock["rounds"]["again"]
        and warm["rounds"]["again"] == stock["rounds"]["again"],
        **{arm: {cost: run[cost] for cost in costs} for arm, run in runs.items()},
        "kernels": kernels,
        "gpu": cold["gpu"],
        "triton": cold["triton"],
        "torch": cold["torch"],
    }


def line(done: dict[str, Any]) -> str:
    cold, warm = done["cold"], done["warm"]
    return (
        f"{done['package']:18} {done['kernels_met']:3} kernels, {done['keys']:3} keys,"
        f" {done['persisted']:3} persisted; cold {cold['calls_s']:6.1f} s"
        f" ({cold['candidates_measured']} candidates, {cold['compiles']} compiles),"
        f" warm {warm['calls_s']:5.1f} s ({warm['candidates_measured']} candidates,"
        f" {warm['compiles']} compiles)"
    )


def table(document: dict[str, Any]) -> str:
    """The document as Markdown, the part of docs/kernels.md that is made and not written."""
    lines = [
        "| package | autotuned kernels | launched | keys | persisted | not persisted"
        " | first start: candidates, compiles, seconds | second start |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for done in document["packages"]:
        others = [f"{count}: {reason}" for reason, count in done["not_persisted"].items()]
        cells = (
            f"{done['package']} {done['version']}",
            done["everything"]["autotuners"],
            done["kernels_met"],
            done["keys"],
            done["persisted"],
            "; ".join(others) or "–",
            *(
                f"{run['candidates_measured']}, {run['compiles']}, {run['calls_s']:.1f}"
                for run in (done["cold"], done["warm"])
            ),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}")
    parser.add_argument("--at-most", type=int, help="candidates of each list, for all packages")
    parser.add_argument("--short", action="store_true", help="few calls of a large package")
    parser.add_argument("--gpu", action="store_true", help="use the machine's GPU")
    parser.add_argument("--out", type=Path, help="write the document here instead of to stdout")
    parser.add_argument(
        "--table", type=Path, metavar="JSON", help="print this document as Markdown"
    )
    args = parser.parse_args()
    if args.table:
        print(table(json.loads(args.table.read_text())), end="")
        return
    if unknown := set(args.names) - set(names()):
        parser.error(f"no workload of the name {', '.join(sorted(unknown))}")
    packages, missing = [], []
    for name in args.names or names():
        workload = importlib.import_module(f"{name}_calls")
        if not installed(workload):
            missing.append(workload.PACKAGE)
            print(f"{workload.PACKAGE}: not installed", file=sys.stderr, flush=True)
            continue
        packages.append(examine(name, at_most=args.at_most, gpu=args.gpu, short=args.short))
        print(line(packages[-1]), file=sys.stderr, flush=True)
    document = {
        "schema": SCHEMA,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "missing": missing,
        "packages": packages,
    }
    give(document, args.out)


if __name__ == "__main__":
    main()
