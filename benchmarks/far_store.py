"""What a key costs whose store lies on a slow mount: prints one JSON document.

    python benchmarks/far_store.py > benchmarks/results/far-store.json
    python benchmarks/far_store.py --others 100000 --delays 0

The mount is made by a small library (`slow_mount.c`, ``LD_PRELOAD``; needs a C compiler): what a
process asks of the file system below one directory is counted, and answered after the delay. Each
start is a new process on the simulated GPU that launches a kernel with 25 candidates once. *Cold*
starts have an empty store and an empty cache of Triton's and compile with the real compiler, *warm*
ones are their second start. Arms take turns. Seconds are those of the launch; *calls* are those of
the launching thread, and of all others. With ``--others N`` the store holds N verdicts of keys of
fifty other kernels; with ``--starts N`` the directory of events holds files of N earlier starts.
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

SCHEMA = "tuneonce.benchmark.far-store/1"
SECONDS_OF_A_START = 600.0


def child() -> dict[str, Any]:
    """One start."""
    import ctypes
    import resource

    import torch
    import triton
    import triton.language as tl

    import tuneonce
    from tuneonce.testing import SimulatedGPU

    mount = ctypes.CDLL(os.environ["LD_PRELOAD"])
    tuneonce.install()
    configs = [
        triton.Config({"B": b}, num_warps=w)
        for b in (32, 64, 128, 256, 512)
        for w in (1, 2, 4, 8, 16)
    ]

    @triton.jit
    def body(x, y, n, B: tl.constexpr):
        i = tl.program_id(0) * B + tl.arange(0, B)
        tl.store(y + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

    increase = triton.autotune(configs=configs, key=["n"])(body)
    with SimulatedGPU(do_bench=True):
        x = torch.zeros(4096)
        body[(1,)](x, x, 4096, B=16)  # what a process does once, for us or not
        began = time.perf_counter()
        increase[lambda m: (triton.cdiv(4096, m["B"]),)](x, x, 4096)
        seconds = time.perf_counter() - began
        winner = str(increase.best_config)
        calls = [mount.calls_of(others) for others in (0, 1)]
        tuneonce.ready()
    return {
        "seconds": seconds,
        "calls": calls[0],
        "calls_of_other_threads": calls[1],
        "all_calls": sum(mount.calls_of(others) for others in (0, 1)),
        "winner": winner,
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def start(home: Path, delay_ms: float, library: Path) -> dict[str, Any]:
    environment = {
        **os.environ,
        "HOME": str(home),
        "TUNEONCE": "1",
        "TUNEONCE_STORE": str(home / "mount" / "store"),
        "TRITON_CACHE_DIR": str(home / "triton"),
        "LD_PRELOAD": str(library),
        "MOUNT_ROOT": str(home / "mount"),
        "MOUNT_US": str(round(delay_ms * 1000)),
    }
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--child"],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        timeout=SECONDS_OF_A_START,
    )
    whole = time.perf_counter() - began
    return {**json.loads(done.stdout), "process_s": whole}


def add_others(home: Path, count: int) -> None:
    """Copies of the verdict of a first start, under names of other kernels."""
    store = home / "mount" / "store"
    [verdict] = store.glob("v1/*/*/*/*.verdict.json")
    data, world = verdict.read_bytes(), verdict.parents[1].name
    for number in range(count):
        folder = store / "v1" / f"other{number % 50}~{number % 50:012x}" / world / f"{number:024x}"
        folder.mkdir(parents=True)
        (folder / verdict.name).write_bytes(data)


def add_starts(home: Path, count: int) -> None:
    """Files of events as a start leaves them, one every eleven seconds up to now."""
    [events] = (home / ".cache" / "tuneonce" / "events").iterdir()
    [lines] = [path.read_bytes() for path in events.glob("*.jsonl")][:1]
    for number in range(count):
        at = time.time() - 11.0 * (count - number)
        name = time.strftime("%Y%m%dT%H%M%S", time.gmtime(at))
        path = events / f"{name}.000000-{100000 + number}.jsonl"
        path.write_bytes(lines)
        os.utime(path, (at, at))


def one_arm(delay_ms: float, library: Path, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        home = Path(directory)
        if options.others or options.starts:
            start(home, 0, library)
            if options.starts:
                add_starts(home, options.starts)
            if options.others:
                add_others(home, options.others)
                for kernel in (home / "mount/store/v1").iterdir():
                    if not kernel.name.startswith("other"):
                        shutil.rmtree(kernel)
            shutil.rmtree(home / "triton")
            if not options.others:
                shutil.rmtree(home / "mount" / "store")
        return {
            "delay_ms": delay_ms,
            "cold": start(home, delay_ms, library),
            "warm": start(home, delay_ms, library),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 5, 50], metavar="MS")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--others", type=int, default=0, help="verdicts of other kernels")
    parser.add_argument("--starts", type=int, default=0, help="earlier starts of today")
    parser.add_argument("--directory", type=Path, help="where stores are made")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child()))
        return
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "mount.so"
        source = str(Path(__file__).with_name("slow_mount.c"))
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True)
        one_arm(0, library, argparse.Namespace(directory=None, others=0, starts=0))  # page cache
        runs = [
            one_arm(delay, library, options)
            for _ in range(options.repeats)
            for delay in options.delays
        ]
    medians = {
        f"{kind}, {delay:g} ms": {
            what: statistics.median(r[kind][what] for r in runs if r["delay_ms"] == delay)
            for what in ("seconds", "calls", "calls_of_other_threads", "all_calls", "process_s")
        }
        for kind in ("cold", "warm")
        for delay in options.delays
    }
    document = {
        "schema": SCHEMA,
        "command": ["python", "benchmarks/far_store.py", *sys.argv[1:]],
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "others": options.others,
        "starts": options.starts,
        "medians": medians,
        "runs": runs,
    }
    give(document, None)


if __name__ == "__main__":
    main()
