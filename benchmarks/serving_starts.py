"""Starts of a server and prompts of random lengths: what the first requests of each wait for.

Starts the server again and again with the directories that the start before has left, the last time
with Triton's cache emptied, and sends each three loads: other prompts, of the same lengths in the
same order. The first meets whatever the start has not prepared, the second is the same server
later, and the third says how much two loads differ in any case. Prints one JSON document.

    python benchmarks/serving_starts.py --out OUT.json --later "--jit-monitor-mode error" -- \
        vllm serve MODEL --port {port}

``--later`` is appended to the command of the arm tuneonce from its second start on.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from documents import save, vars_of  # noqa: E402

from tuneonce.activation.install import child_environment  # noqa: E402
from tuneonce.bench.arms import ARMS, environment  # noqa: E402
from tuneonce.bench.interrupts import Interrupts  # noqa: E402
from tuneonce.bench.load import run_load  # noqa: E402
from tuneonce.bench.machine import (  # noqa: E402
    describe_gpu,
    describe_machine,
    installed_versions,
)
from tuneonce.bench.ports import free_port  # noqa: E402
from tuneonce.bench.process import Server  # noqa: E402
from tuneonce.bench.readings import engine_init_s  # noqa: E402
from tuneonce.bench.result import Load  # noqa: E402
from tuneonce.events.log import read_processes  # noqa: E402

SCHEMA = "tuneonce.serving-starts/1"
HOST = "127.0.0.1"
LOADS = 3
COUNTED = ("tune", "compile", "load", "module_load")


def told(events: Path) -> dict[str, Any]:
    """What the processes told, before and after each was ready; and what was made ready."""
    phases: dict[str, Counter[str]] = {"starting": Counter(), "serving": Counter()}
    seconds: dict[str, Counter[str]] = {"starting": Counter(), "serving": Counter()}
    kernels: Counter[str] = Counter()
    replays, problems, restored = [], Counter[str](), Counter[str]()
    for process in read_processes(events):
        phase = "starting"
        for event in process:
            kind = event.get("e")
            if kind == "ready":
                phase = "serving"
            elif kind in COUNTED:
                phases[phase][kind] += 1
                seconds[phase][kind] += float(event.get("seconds", 0.0))
                if phase == "serving" or kind == "compile":
                    kernels[f"{phase}: {kind} {event.get('kernel')}"] += 1
            elif kind == "replay":
                replays.append({k: v for k, v in event.items() if k not in ("t", "e")})
            elif kind == "restore":
                restored["binaries"] += 1
                restored["bytes"] += int(event.get("bytes", 0))
                restored["ms"] += round(1000 * float(event.get("seconds", 0.0)))
            elif kind == "problem":
                problems[f"{event.get('what')}: {str(event.get('detail'))[:160]}"] += 1
    return {
        "counts": phases,
        "seconds": {p: {k: round(s, 3) for k, s in c.items()} for p, c in seconds.items()},
        "kernels": dict(kernels.most_common(60)),
        "replays": replays,
        "restored": restored,
        "problems": problems,
    }


def start(number: int, arm: str, options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """One start, its two loads and its end."""
    emptied = options.emptied and number == options.starts
    if emptied:
        for place in [*(home / "caches").glob(options.triton_cache)]:
            if place.is_dir() and home / "caches/store" not in place.parents:
                shutil.rmtree(place)
    events = home / f"events-{number}"
    events.mkdir(parents=True)
    env = environment(
        ARMS[arm],
        base=os.environ,
        caches=home / "caches",
        events=events,
        activate=child_environment,
    )
    port = free_port(HOST)
    later = shlex.split(options.later) if number > 1 and arm == "tuneonce" else []
    command = [word.replace("{port}", str(port)) for word in [*options.command, *later]]
    log = home / f"server-{number}.log"
    found: dict[str, Any] = {"arm": arm, "start": number, "emptied": emptied}
    with Interrupts() as interrupts:
        server = Server(command, env=env, log=log, host=HOST, port=port, interrupts=interrupts)
        with server:
            found["healthy_s"] = round(server.wait_healthy(timeout=options.startup_timeout), 2)
            found["loads"] = []
            for number_of_load in range(LOADS):
                load = Load(
                    input_len=options.input_len,
                    input_len_to=options.input_len_to,
                    output_len=options.output_len,
                    num_prompts=options.num_prompts,
                    max_concurrency=options.max_concurrency,
                    ignore_eos=True,
                    seed=number_of_load,
                    lengths_seed=0,
                )
                began = time.time()
                result = run_load(f"http://{HOST}:{port}", load, interrupts=interrupts)
                found["loads"].append(
                    {
                        "began": round(began, 2),
                        "successful": result.successful,
                        "errors": result.errors,
                        "duration_s": round(result.duration_s, 3),
                        "ttft_ms": vars_of(result.ttft_ms),
                        "ttft_max_ms": max(result.ttft_samples_ms, default=None),
                        "ttft_samples_ms": [round(ms, 1) for ms in result.ttft_samples_ms],
                        "output_digest": result.output_digest,
                    }
                )
        found["engine_init_s"] = engine_init_s(log)
    found.update(told(events))
    return found


def line(found: dict[str, Any]) -> str:
    p99 = ", ".join(f"{load['ttft_ms']['p99'] or 0.0:.0f}" for load in found["loads"])
    return (
        f"{found['arm']:12} start {found['start']}{' emptied' if found['emptied'] else '':8}"
        f" engine init {found['engine_init_s']} healthy {found['healthy_s']} s,"
        f" P99 TTFT {p99} ms, serving {dict(found['counts']['serving'])}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["tuneonce"])
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--emptied", action="store_true", help="before the last: Triton's cache")
    parser.add_argument("--triton-cache", default="**/triton*", help="glob of its directories")
    parser.add_argument("--later", default="", help="to tuneonce's, from the second start on")
    parser.add_argument("--input-len", type=int, default=200)
    parser.add_argument("--input-len-to", type=int, default=7800)
    parser.add_argument("--output-len", type=int, default=4)
    parser.add_argument("--num-prompts", type=int, default=192, help="of each load")
    parser.add_argument("--max-concurrency", type=int, default=16)
    parser.add_argument("--startup-timeout", type=float, default=400.0)
    parser.add_argument("--directory", type=Path, help="kept, with what starts have left in it")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- SERVER COMMAND")
    options = parser.parse_args()
    options.command = options.command[options.command[:1] == ["--"] :]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": vars_of(describe_machine()),
        "gpu": vars_of(describe_gpu()),
        "versions": installed_versions(),
        "starts": [],
    }
    with contextlib.ExitStack() as stack:
        directory = options.directory or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="tuneonce-serving-")
        )
        for number in range(1, options.starts + 1):
            for arm in options.arms:
                home = Path(directory, arm)
                try:
                    found = start(number, arm, options, home)
                    print(line(found), file=sys.stderr, flush=True)
                except Exception as error:
                    said = (home / f"server-{number}.log").read_text(errors="replace")
                    errors = [line for line in said.splitlines() if "Error: " in line]
                    found = {"arm": arm, "start": number, "failed": repr(error)[:2000]}
                    found["log"] = errors[:20]
                    print(f"{arm} start {number} failed: {error}", file=sys.stderr)
                    print("\n".join(errors[:20]) or said[-6000:], file=sys.stderr)
                document["starts"].append(found)
                save(document, options.out)


if __name__ == "__main__":
    main()
