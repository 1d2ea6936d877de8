"""What candidates of published kernels write, and what looking at it costs.

    python benchmarks/observed_outputs.py --out OUT.json            # on a GPU
    python benchmarks/observed_outputs.py --programs gla gemlite

Each program is tuned twice from nothing, in processes of their own: with ``TUNEONCE_NUMERICS=off``
and with ``check``. A program is an operator of ``classes/operators.py`` at two numbers of tokens,
or a workload of ``cold/workloads.py``. All candidates are honest: whoever is accused is accused
wrongly. Prints and saves, for each key, classes of equal bits, distances and what was left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHMARKS.parent / "src"), str(BENCHMARKS)]

from documents import save  # noqa: E402

from tuneonce.model.records import Verdict, unpack  # noqa: E402

TOKENS = (64, 8192)
ARMS = ("off", "check")
PROGRAMS = ("gated_delta_rule", "kda", "simple_gla", "delta_rule", "gla", "rwkv7", "gemlite")


def child(program: str) -> None:
    """Make the program's calls, once each."""
    import torch

    import tuneonce

    tuneonce.install()
    with torch.no_grad():
        if program == "gemlite":
            from cold.workloads import WORKLOADS

            for call in WORKLOADS[program].calls("cuda"):
                call.run()
        else:
            from classes.operators import OPERATORS, Calls

            calls = Calls(OPERATORS[program], "cuda", most=max(TOKENS))
            for tokens in TOKENS:
                calls.of([tokens], packed=False)()
        torch.cuda.synchronize()


def start(program: str, arm: str, home: Path) -> dict[str, Any]:
    """One start in directories of its own; what its events and its store say."""
    environment = {
        **os.environ,
        "TUNEONCE": "1",
        "TUNEONCE_NUMERICS": arm,
        "TUNEONCE_STORE": str(home / "store"),
        "TUNEONCE_EVENTS": str(home / "events"),
        "TUNEONCE_PROGRESS": "0",
        "TRITON_CACHE_DIR": str(home / "triton"),
    }
    command = [sys.executable, __file__, "--child", program]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        return {"error": done.stderr[-2000:]}
    lines = [line for path in home.glob("events/*.jsonl") for line in path.open()]
    events = [json.loads(line) for line in lines]
    tunes = [event for event in events if event.get("e") == "tune"]
    return {
        "tune_s": round(sum(event["seconds"] for event in tunes), 3),
        "look_s": round(sum(event.get("look_s", 0.0) for event in tunes), 3),
        "keys": len(tunes),
        "problems": [
            [event["what"], event.get("detail")] for event in events if event.get("e") == "problem"
        ],
        "outputs": [told(event) for event in events if event.get("e") == "outputs"],
        "verdicts": sorted(verdicts(home / "store"), key=lambda one: str(one["kernel"])),
    }


def told(event: dict[str, Any]) -> dict[str, Any]:
    names = ("kernel", "work_class", "looked_at", "classes", "unsteady", "wrong", "disagrees")
    return {name: event[name] for name in (*names, "left_out", "size", "seconds", "fastest_ms")}


def verdicts(store: Path) -> list[dict[str, Any]]:
    found = []
    for path in store.rglob("*.verdict.json"):
        verdict = unpack(path.read_bytes(), Verdict)
        for sighting in verdict.sightings or ():
            found.append(
                {
                    "kernel": dict(verdict.key).get("kernel.name"),
                    "work_class": verdict.work_class,
                    "candidates": len(verdict.candidates),
                    "classes": sorted(sighting.classes.values()),
                    "distances": sorted(map(str, sighting.distances.values())),
                    "size": sighting.size,
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument("--child", choices=PROGRAMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    import torch
    import triton

    document: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "versions": {"torch": torch.__version__, "triton": triton.__version__},
        "programs": {},
    }
    for program in options.programs:
        for arm in ARMS:
            with tempfile.TemporaryDirectory() as home:
                found = start(program, arm, Path(home))
            document["programs"].setdefault(program, {})[arm] = found
            print(program, arm, found.get("tune_s"), found.get("look_s"), found.get("error", ""))
            if options.out is not None:
                save(document, options.out)


if __name__ == "__main__":
    main()
