"""Ranks that start together and meet the same cold keys, each a process with a simulated GPU.

Importing torch and triton takes longer than such a tuning, so it is done once: this program forks
for every rank, before anything of tuneonce or of a simulated GPU exists in it. It reads one JSON
document per line from standard input::

    {"home": directory, "ranks": 3, "machines": 1, "keys": [3, 5]}

and answers with one when all ranks have ended: each rank's winners by key, null for one that was
killed. So many ranks start on each machine, which is a directory with a store, a cache and claims
of its own, numbered from 0. Ranks measure with noise of their own, and candidates are nearly as
fast as each other: alone, each would choose another one. Besides::

    "apart": "add"            what `TUNEONCE_TUNE_APART` says
    "signal": ["SIGKILL", 4]  whoever is the first to go on so often with a key gets it then; a
                              stopped one goes on when all others have ended
    "remote": address         what `TUNEONCE_REMOTE` says
    "environ": {name: text}   other variables
    "patient": true           others are waited for, however slow this machine is
    "clock_s": 600            by how much the clock of the machine is wrong
    "collective": true        rank 0 has begun a collective when it meets its first key, rank 1
                              comes to that after its first key
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl
import triton.testing


@triton.jit
def add(x, out, n, m, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    tl.store(out + i, value * m, mask=i < n)


CONFIGS = [
    triton.Config({"BLOCK": block}, num_warps=warps)
    for warps in (1, 2)
    for block in (64, 128, 256, 512)
]


def times(launch: Any) -> float:
    return float(0.05 * (1 + 0.001 * launch.constants["BLOCK"] / 64))


def await_that(is_so: Callable[[], bool], within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while not is_so() and time.monotonic() < until:
        time.sleep(0.002)


def send(name: str, at: int, home: Path) -> None:
    """Have the first claim that goes on for the `at`-th time send this process a signal."""
    from tuneonce.system.claims import Claim

    advance = Claim.advance

    def advance_and_end(self: Any) -> None:
        advance(self)
        if self._count == at:
            try:
                (home / "signalled").open("x").close()
            except FileExistsError:
                return
            os.kill(os.getpid(), getattr(signal, name))

    Claim.advance = advance_and_end  # type: ignore[method-assign]


def begin_collective(rank: int, home: Path) -> Callable[[], None]:
    """The device waits from when rank 0 has begun until rank 1 has come; returns its coming."""
    from tuneonce.triton.seams import drivers

    interface_of = drivers.device_interface

    class Interface:
        def __init__(self, driver: Any) -> None:
            self._own = interface_of(driver)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._own, name)

        def synchronize(self) -> None:
            if (home / f"came-{rank}").exists():
                await_that((home / f"came-{1 - rank}").exists)
            self._own.synchronize()

    drivers.device_interface = Interface  # type: ignore[assignment]
    come = (home / f"came-{rank}").touch
    if rank == 0:
        come()
    else:
        await_that((home / "came-0").exists)
    return come


def run(rank: int, job: dict[str, Any]) -> None:
    home = Path(job["home"])
    machine = home / str(rank // job["ranks"])
    os.environ |= {
        "TUNEONCE_STORE": str(machine / "store"),
        "TUNEONCE_EVENTS": str(machine / "events"),
        "TRITON_CACHE_DIR": str(machine / "cache"),
        "TMPDIR": str(machine / "tmp"),
        "TUNEONCE_TUNE_APART": job.get("apart", ""),
        "TUNEONCE_REMOTE": job.get("remote", ""),
        **job.get("environ", {}),
    }
    tempfile.tempdir = None
    right, wrong_s = time.time, job.get("clock_s", 0.0)
    time.time = lambda: right() + wrong_s  # type: ignore[method-assign]
    import tuneonce
    from tuneonce.replica import link
    from tuneonce.testing import SimulatedGPU
    from tuneonce.triton.launch import sharing

    tuneonce.install()
    if job.get("patient"):
        sharing._MACHINE_S = link.PATIENCE_S = link.PULL_S = link.ANSWER_S = 60.0
    come: Callable[[], None] = lambda: None  # noqa: E731
    if "signal" in job:
        send(*job["signal"], home)
    if "collective" in job:
        come = begin_collective(rank, home)
    kernel = triton.autotune(CONFIGS, ["m"])(add)
    winners = {}
    with SimulatedGPU(do_bench=True, times=times, noise=0.1, seed=rank, real_time=True):
        x = torch.zeros(4096)
        for key in job["keys"]:
            kernel[lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)](x, x, 4096, key)
            winners[key] = str(kernel.best_config)
            come()
    (home / f"rank-{rank}.json").write_text(json.dumps(winners))
    tuneonce.uninstall()


def start(rank: int, job: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        run(rank, job)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        home = Path(job["home"])
        for machine in range(job["machines"]):
            (home / str(machine) / "tmp").mkdir(parents=True)
        ranks = range(job["ranks"] * job["machines"])
        alive = {start(rank, job) for rank in ranks}
        stopped = set()
        while alive:
            pid, status = os.waitpid(-1, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                stopped.add(pid)
            else:
                alive.discard(pid)
            if alive == stopped:
                for one in stopped:
                    os.kill(one, signal.SIGCONT)
                stopped = set()
        found = [home / f"rank-{rank}.json" for rank in ranks]
        winners = [json.loads(path.read_text()) if path.exists() else None for path in found]
        print(json.dumps({"winners": winners}), flush=True)


if __name__ == "__main__":
    main()
