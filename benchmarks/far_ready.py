"""What `tuneonce.ready()` waits for where the store lies on a slow mount: prints one JSON document.

    python benchmarks/far_ready.py > benchmarks/results/far-ready.json

The mount is that of `far_store.py`. Two starts at full speed leave a profile of 300 variants and 50
keys. Then each start is a new process on the simulated GPU, with a copy of that store, and with
Triton's cache as they left it: it launches one variant and one key that are new, so that there is
something to write, and calls `ready()`. The last arm is a mount that stops to answer (2 s a call)
just before that. *process_s* is the whole start with its end. Arms take turns. A start that has not
ended after a minute is killed, and counts as one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from documents import give

SCHEMA = "tuneonce.benchmark.far-ready/1"
VARIANTS, KEYS = 298, 50  # and the two candidates
SECONDS_OF_A_START = 60.0
DIES_MS = 2000.0

if "--child" in sys.argv:
    import tuneonce

    tuneonce.install()

    import torch
    import triton
    import triton.language as tl

    @triton.jit
    def scaled(x, n, SCALE: tl.constexpr):
        tl.store(x, n * SCALE)

    @triton.autotune([triton.Config({"B": b}) for b in (32, 64)], key=["n", "m"])
    @triton.jit
    def tuned(x, n, m, B: tl.constexpr):
        i = tl.program_id(0) * B + tl.arange(0, B)
        tl.store(x + i, i, mask=i < n + m)


def launch_key(x: Any, number: int) -> None:
    """Launch one of the keys; they differ in two numbers, for one would be taken as a length."""
    tuned[(1,)](x, 16 * (1 + number % 10), 16 * (1 + number // 10))


def child(kind: str) -> dict[str, Any]:
    """One start: one that `make`s the profile, one that is measured, or whose mount `dies`."""
    import ctypes

    from tuneonce.activation import install
    from tuneonce.testing import SimulatedGPU

    mount = ctypes.CDLL(os.environ["LD_PRELOAD"])
    SimulatedGPU(do_bench=True).install()
    x = torch.zeros(4096)
    started = time.perf_counter()
    made = range(1, VARIANTS + 1) if kind == "make" else [VARIANTS + 1]
    for scale in made:
        scaled[(1,)](x, 5, scale)
    made = range(1, KEYS + 1) if kind == "make" else [KEYS + 1]
    for key in made:
        launch_key(x, key)
    if kind == "dies":
        mount.answer_after(round(DIES_MS * 1000))
    before = time.perf_counter() - started
    began = time.perf_counter()
    tuneonce.ready()
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    launch_key(x, 2)
    launch = time.perf_counter() - began
    [events] = (Path(os.environ["HOME"]) / ".cache" / "tuneonce" / "events").iterdir()
    text = "".join(path.read_text() for path in events.glob("*.jsonl"))
    told = [json.loads(line) for line in text.splitlines()]
    replay = [one for one in told if one.get("e") == "replay"]
    patience = getattr(install._installed, "patience", None)
    return {
        "before_s": before,
        "ready_s": seconds,
        "waited_s": None if patience is None else 2.0 - patience.left,
        "launch_s": launch,
        "replay": replay[-1:],
    }


def start(home: Path, kind: str, delay_ms: float, library: Path) -> dict[str, Any]:
    shutil.rmtree(home / ".cache", ignore_errors=True)
    environment = {
        **os.environ,
        "HOME": str(home),
        "TUNEONCE": "1",
        "TUNEONCE_STORE": str(home / "mount" / "store"),
        "TUNEONCE_PROFILE": "far",
        "TRITON_CACHE_DIR": str(home / "triton"),
        "LD_PRELOAD": str(library),
        "MOUNT_ROOT": str(home / "mount"),
        "MOUNT_US": str(round(delay_ms * 1000)),
    }
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--child", kind],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            timeout=SECONDS_OF_A_START if kind != "make" else None,
        )
    except subprocess.TimeoutExpired as killed:
        told = json.loads(killed.stdout) if killed.stdout else {"ready_s": SECONDS_OF_A_START}
        return {"launch_s": SECONDS_OF_A_START, **told, "process_s": SECONDS_OF_A_START}
    whole = time.perf_counter() - began
    return {**json.loads(done.stdout), "process_s": whole}


def one_arm(home: Path, arm: str, library: Path) -> dict[str, Any]:
    mount, before = home / "mount", home / "before"
    shutil.rmtree(mount)
    shutil.copytree(before, mount)
    kind, delay_ms = ("dies", 0.0) if arm == "dies" else ("measure", float(arm))
    return {"arm": arm, **start(home, kind, delay_ms, library)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", nargs="+", default=["0", "2", "20", "200", "2000", "dies"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=["make", "measure", "dies"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child)), flush=True)
        return
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        library = home / "mount.so"
        source = str(Path(__file__).with_name("slow_mount.c"))
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True)
        for _ in range(2):
            start(home, "make", 0, library)
        shutil.copytree(home / "mount", home / "before")
        one_arm(home, "0", library)  # what the arms launch is in Triton's cache from here on
        runs = [one_arm(home, arm, library) for _ in range(options.repeats) for arm in options.arms]
    medians = {
        arm: {
            what: statistics.median(run[what] for run in runs if run["arm"] == arm)
            for what in ("ready_s", "launch_s", "process_s")
        }
        for arm in options.arms
    }
    document = {
        "schema": SCHEMA,
        "command": ["python", "benchmarks/far_ready.py", *sys.argv[1:]],
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "variants": VARIANTS + 2,
        "keys": KEYS,
        "medians": medians,
        "runs": runs,
    }
    give(document, None)


if __name__ == "__main__":
    main()
