"""Threads tune kernels that end in errors while other threads tune others: does anything stop?

On the simulated GPU, with the real compiler in its helper; every tuning meets a binary that was
never compiled, so that there is always something to drop. The program is a process of its own,
whose output this one reads: it says when a tuning has ended, how often, and whether it came to its
own end. One that does not move for `--stuck` seconds has its threads' stacks dumped and is ended.

    python benchmarks/failing_submissions.py [--seconds 20] [--threads 3] [--workers 2]

Prints one JSON document. The longest time without progress is one compilation, or a hang.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from documents import give

SCHEMA = "tuneonce.failing-submissions/1"
# What ends a tuning, as where a candidate has broken the device's context.
BROKEN = "Triton Error [CUDA]: an illegal memory access was encountered"


# -- the program ---------------------------------------------------------------------------------


def kernels(count: int) -> list[Any]:
    """As many kernels, each with an autotuner and a lock of its own."""
    import triton
    import triton.language as tl

    candidates = [
        triton.Config({"BLOCK": block}, num_warps=warps)
        for block in (32, 64, 128)
        for warps in (1, 2)
    ]

    def make() -> Any:
        @triton.autotune(candidates, ["SALT", "FAILS"])
        @triton.jit
        def tuned(x, out, n, SALT: tl.constexpr, FAILS: tl.constexpr, BLOCK: tl.constexpr):
            i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
            tl.store(out + i, tl.load(x + i, mask=i < n) + SALT, mask=i < n)

        return tuned

    return [make() for _ in range(count)]


def program(seconds: float, threads: int, tunings: int | None) -> None:
    """Half of the threads meet errors. Writes a line for each tuning: what it came to.

    A thread ends after `seconds`, or its `tunings`.
    """
    import torch

    import tuneonce
    from tuneonce.testing import SimulatedGPU

    faulthandler.register(signal.SIGUSR1, all_threads=True)
    tuneonce.install()
    stop = time.monotonic() + seconds
    salts = itertools.count()
    x = torch.zeros(128)

    def tunes(kernel: Any, fails: bool) -> None:
        for _ in itertools.count() if tunings is None else range(tunings):
            if time.monotonic() > stop:
                break
            try:
                kernel[(1,)](x, x, 128, SALT=next(salts), FAILS=fails)
                said = "tuned"
            except RuntimeError as error:
                said = "failed" if BROKEN in str(error) else f"error {error!r}"
            except Exception as error:
                said = f"error {error!r}"
            os.write(1, f"{said[:300]}\n".encode())

    def takes(launch: Any) -> float:
        return 5.0 / launch.constants["BLOCK"]

    with SimulatedGPU(do_bench=True, times=takes) as gpu:
        gpu.fail(lambda launch: launch.constants["FAILS"], lambda: RuntimeError(BROKEN))
        running = [
            threading.Thread(target=tunes, args=(kernel, number % 2 == 0), daemon=True)
            for number, kernel in enumerate(kernels(2 * threads))
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    os.write(1, b"end\n")


# -- who watches it ------------------------------------------------------------------------------


def watch(process: subprocess.Popen[bytes], stuck_s: float) -> dict[str, Any]:
    """Reads what the program says until it ends, or does not move for `stuck_s` seconds."""
    assert process.stdout is not None
    counts = {"tuned": 0, "failed": 0}
    errors: list[str] = []
    longest, last, hung, buffer = 0.0, time.monotonic(), False, b""
    end_s: float | None = None
    while True:
        if not select.select([process.stdout], [], [], stuck_s)[0]:
            hung = True
            process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2.0)  # so that the stacks are written
            process.kill()
            break
        data = os.read(process.stdout.fileno(), 1 << 16)
        now = time.monotonic()
        if not data:
            end_s = None if end_s is None else now - end_s
            break
        longest, last = max(longest, now - last), now
        *lines, buffer = (buffer + data).split(b"\n")
        for line in map(bytes.decode, lines):
            if line in counts:
                counts[line] += 1
            elif line == "end":
                end_s = now
            else:
                errors.append(line)
    return {
        **counts,
        "errors": errors[:20],
        "longest_without_progress_s": round(max(longest, stuck_s if hung else 0.0), 3),
        "end_s": None if end_s is None or hung else round(end_s, 3),
        "hung": hung,
        "ended": process.wait(),
    }


def run(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as stacks:
        environment = {
            **os.environ,
            "TUNEONCE": "1",
            "TUNEONCE_WORKERS": str(args.workers),
            "TUNEONCE_STORE": str(Path(folder) / "store"),
            "TRITON_CACHE_DIR": str(Path(folder) / "triton"),
        }
        command = [sys.executable, __file__, "--program", f"--seconds={args.seconds}"]
        if args.tunings is not None:
            command.append(f"--tunings={args.tunings}")
        process = subprocess.Popen(
            [*command, f"--threads={args.threads}"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stacks,
        )
        seen = watch(process, args.stuck)
        stacks.seek(0)
        said = stacks.read().decode(errors="replace")[-20_000:]
    return {
        "schema": SCHEMA,
        "seconds": args.seconds,
        "threads": 2 * args.threads,
        "workers": args.workers,
        **seen,
        "stacks": said if seen["hung"] or seen["ended"] else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--tunings", type=int, help="of each thread, at most")
    parser.add_argument("--threads", type=int, default=3, help="of either kind")
    parser.add_argument("--workers", type=int, default=2, help="of the compile helper")
    parser.add_argument("--stuck", type=float, default=30.0, help="seconds that are a hang")
    parser.add_argument("--out", type=Path, help="write the document there")
    parser.add_argument("--program", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.program:
        program(args.seconds, args.threads, args.tunings)
    else:
        give(run(args), args.out)


if __name__ == "__main__":
    main()
