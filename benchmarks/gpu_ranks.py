"""The FLA workload in one process, and in several that start together as the ranks of a server do.

Every start has directories of its own, empty at first, which its ranks share. Ranks take GPUs in
turn; where there are fewer GPUs than ranks, they share one. Measurements and compilations are those
of all ranks together; winners are compared over the ranks. Prints one JSON document.

    python benchmarks/gpu_ranks.py --out OUT.json
    python benchmarks/gpu_ranks.py --simulated --small --repeats 1
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from documents import ROOT, save
from fla_restart import environment_of, machine

sys.path.insert(0, str(ROOT / "src"))

from tuneonce.events.log import read_processes

SCHEMA = "tuneonce.gpu-ranks/1"
# Stock Triton with its cache of winners: what FLA asks for by default.
STARTS: dict[str, tuple[str, int, float]] = {
    "one": ("tuneonce", 1, 0.0),
    "two": ("tuneonce", 2, 0.0),
    "two, late": ("tuneonce", 2, 5.0),
    "stock, one": ("stock-cache", 1, 0.0),
    "stock, two": ("stock-cache", 2, 0.0),
}


def start(name: str, options: argparse.Namespace, gpus: int) -> dict[str, Any]:
    """One cold start of all ranks, and what they did."""
    arm, ranks, late = STARTS[name]
    with tempfile.TemporaryDirectory(prefix="gpu-ranks-") as directory:
        home = Path(directory)
        environment = environment_of(arm, home) | {"TUNEONCE_EVENTS": str(home / "events")}
        (home / "events").mkdir()
        command = [sys.executable, str(ROOT / "benchmarks/fla_workload.py"), "--again", "0"]
        command += [f"--{flag}" for flag in ("simulated", "small") if getattr(options, flag)]
        began = time.perf_counter()
        processes = []
        for rank in range(ranks):
            if rank and late:
                time.sleep(late)
            own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            if gpus:
                own["CUDA_VISIBLE_DEVICES"] = str(rank % gpus)
            log = (home / f"rank-{rank}.log").open("w+")
            out = ["--out", str(home / f"rank-{rank}.json")]
            processes.append(
                (
                    time.perf_counter(),
                    log,
                    subprocess.Popen(command + out, env=own, stdout=log, stderr=log),
                )
            )
        process_s = []
        for rank, (spawned, log, process) in enumerate(processes):
            if process.wait():
                log.seek(0)
                raise SystemExit(f"{name}, rank {rank}: {log.read()[-3000:]}")
            process_s.append(round(time.perf_counter() - spawned, 2))
            log.close()
        seconds = time.perf_counter() - began
        documents = [json.loads((home / f"rank-{rank}.json").read_text()) for rank in range(ranks)]
        found = {
            "start": name,
            "arm": arm,
            "ranks": ranks,
            "late_s": late,
            "gpu": documents[0]["gpu"],
            "versions": documents[0]["versions"],
            "seconds": round(seconds, 2),
            "process_s": process_s,
            "calls_s": [round(document["calls_s"], 2) for document in documents],
            "binaries": len(list((home / "triton").glob("*/*.cubin"))),
            **work(arm, documents, home / "events"),
            **agreement([document["winners"] for document in documents]),
        }
    return found


def work(arm: str, documents: list[dict[str, Any]], events: Path) -> dict[str, Any]:
    """What all ranks did together: by their own counts, or by our events where we tuned."""
    totals = [document["totals"] for document in documents]
    if arm != "tuneonce":
        return {
            "tunes": [total["tuned_keys"] for total in totals],
            "measurements": [total["candidates"] for total in totals],
            "compiles": [total["compiles"] for total in totals],
        }
    processes = []
    for process in read_processes(events):
        told = Counter[str]()
        waited = 0.0
        for event in process:
            told[str(event.get("e"))] += 1
            waited += event["seconds"] if event.get("e") == "wait" else 0.0
        processes.append((told, waited))
    return {
        "tunes": [told["tune"] for told, _ in processes],
        "measurements": [told["measure"] for told, _ in processes],
        "compiles": [told["compile"] for told, _ in processes],
        "waited_s": [round(waited, 2) for _, waited in processes],
    }


def agreement(winners: list[dict[str, dict[str, str]]]) -> dict[str, Any]:
    """Of the keys that all ranks met, those with one winner."""
    keys = [(kernel, key) for kernel, found in winners[0].items() for key in found]
    same = sum(
        len({str(one.get(kernel, {}).get(key)) for one in winners}) == 1 for kernel, key in keys
    )
    return {"keys": len(keys), "keys_with_one_winner": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--repeats", type=int, default=2, help="each, one start after the other")
    parser.add_argument("--simulated", action="store_true", help="use the simulated GPU")
    parser.add_argument("--small", action="store_true", help="one dense and one packed call")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    about = machine()
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": about,
        "starts": [],
    }
    for _ in range(options.repeats):
        for name in options.starts:
            found = start(name, options, 0 if options.simulated else len(about.get("gpus", [])))
            document["starts"].append(found)
            save(document, options.out)
            print(found, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
