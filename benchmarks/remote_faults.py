"""Starts whose remote has faults, beside starts without one, in turn: how much later they are.

Real processes on the simulated GPU, with binaries that are compiled already, so that a start takes
a second and shows what is waited for. The first key comes at once, or three seconds after tuneonce
was switched on. Prints one JSON document.

    python benchmarks/remote_faults.py --out benchmarks/results/remote-faults.json
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl
import triton.testing
from documents import ROOT, give, vars_of

sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.contract.fake_objects import fake_objects  # noqa: E402
from tests.contract.servers import redis_server, s3_environment  # noqa: E402
from tests.faults.faulty_proxy import FAULTS, faulty  # noqa: E402

SCHEMA = "tuneonce.remote_faults/1"
KEYS = (3, 5, 7)
LATER_S = 3.0

# In the place of the client's package: a name takes half a minute to be looked up.
_SLOW_DNS = """
import socket, sys, time
def getaddrinfo(*words, **more):
    time.sleep(30)
    raise socket.gaierror(-3, "Temporary failure in name resolution")
socket.getaddrinfo = getaddrinfo
del sys.modules["redis"], sys.path[0]
import redis
"""


@triton.jit
def add(x, out, n, m, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    tl.store(out + i, value * m, mask=i < n)


CONFIGS = [triton.Config({"BLOCK": b}, num_warps=w) for w in (1, 2) for b in (64, 128, 256, 512)]


def times(launch: Any) -> float:
    return float(0.05 * (1 + 0.001 * launch.constants["BLOCK"] / 64))


def program(home: Path, wait_s: float) -> None:
    """What one start does; says how long its keys took, and what of that it waited."""
    import tuneonce
    from tuneonce.testing import SimulatedGPU

    if "SLOW_DNS" in os.environ:
        sys.path.insert(0, os.environ["SLOW_DNS"])  # which the courier has, too
    began = time.perf_counter()
    tuneonce.install()
    time.sleep(wait_s)
    kernel = triton.autotune(CONFIGS, ["m"])(add)
    with SimulatedGPU(do_bench=True, times=times, noise=0.1, real_time=True):
        x = torch.zeros(4096)
        for key in KEYS:
            kernel[lambda meta: (triton.cdiv(4096, meta["BLOCK"]),)](x, x, 4096, key)
        tuneonce.ready()
    keys_s = time.perf_counter() - began - wait_s
    (home / "seconds.json").write_text(json.dumps({"keys_s": keys_s}))


def start(cache: Path, wait_s: float, variables: dict[str, str]) -> dict[str, float]:
    """One start, in a directory of its own."""
    with scratch_directory() as home:
        (home / "tmp").mkdir()
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.environ |= {
                    "TUNEONCE": "1",
                    "TUNEONCE_STORE": str(home / "store"),
                    "TUNEONCE_EVENTS": "0",
                    "TRITON_CACHE_DIR": str(cache),
                    "TMPDIR": str(home / "tmp"),
                    "TRITON_DEFAULT_FP_FUSION": "1",
                    **variables,
                }
                tempfile.tempdir = None
                program(home, wait_s)
                status = 0
            finally:
                import atexit

                atexit._run_exitfuncs()
                os._exit(status)
        if os.waitpid(pid, 0)[1]:
            raise SystemExit("a start failed")
        whole_s = time.perf_counter() - began - wait_s
        found = json.loads((home / "seconds.json").read_text())
        return {"keys_s": found["keys_s"], "end_s": whole_s - found["keys_s"]}


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory for a while. Not tempfile's: a forked child that ends would remove it, too."""
    home = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def remotes(scratch: Path) -> Iterator[dict[str, dict[str, str]]]:
    """What tells a start of each remote, by the name of its fault."""
    found: dict[str, dict[str, str]] = {"none": {}}
    slow = scratch / "slow-dns"
    slow.mkdir()
    (slow / "redis.py").write_text(_SLOW_DNS)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(redis_server())
        found["redis"] = {"TUNEONCE_REMOTE": f"redis://127.0.0.1:{port}?namespace=well"}
        for fault in FAULTS:
            faulty_port = stack.enter_context(faulty(fault, port))
            url = f"redis://127.0.0.1:{faulty_port}?namespace={fault.replace(' ', '-')}"
            found[f"redis, {fault}"] = {"TUNEONCE_REMOTE": url}
        found["redis, slow DNS"] = {
            "TUNEONCE_REMOTE": "redis://redis.invalid:6379",
            "SLOW_DNS": str(slow),
        }
        for fault, change in (
            ("none", {}),
            ("503", {"fails": frozenset({"GET", "PUT", "HEAD"})}),
            ("hang", {"silent": True}),
            ("huge body", {"claims": 1 << 40}),
        ):
            fake = stack.enter_context(fake_objects())
            for name, value in change.items():
                setattr(fake.faults, name, value)
            more = {"TUNEONCE_REMOTE": "s3://bucket/fleet", **s3_environment(fake.url)}
            found["s3" if fault == "none" else f"s3, {fault}"] = more
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    from tuneonce.bench.machine import describe_machine, installed_versions

    document: dict[str, Any] = {
        "schema": SCHEMA,
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": vars_of(describe_machine()),
        "versions": installed_versions(),
        "starts": [],
    }
    with scratch_directory() as scratch:
        cache = scratch / "cache"
        start(cache, 0.0, {})  # what all others find compiled
        with remotes(scratch) as found:
            for _ in range(options.repeats):
                for wait_s in (0.0, LATER_S):
                    for fault, variables in found.items():
                        # Beside each one a start without a remote: machines change their speed.
                        without, with_it = start(cache, wait_s, {}), start(cache, wait_s, variables)
                        one = {
                            "remote": fault,
                            "first_key_after_s": wait_s,
                            "without": without,
                            "with": with_it,
                        }
                        document["starts"].append(one)
                        print(json.dumps(one), file=sys.stderr, flush=True)
    document["later"] = summary(document["starts"])
    give(document, options.out)


def summary(starts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each remote the median, and the longest, of how much later its starts were, in seconds."""
    found = []
    for key in dict.fromkeys((one["remote"], one["first_key_after_s"]) for one in starts):
        ours = [one for one in starts if (one["remote"], one["first_key_after_s"]) == key]
        row: dict[str, Any] = {"remote": key[0], "first_key_after_s": key[1]}
        for part in ("keys_s", "end_s"):
            later = [one["with"][part] - one["without"][part] for one in ours]
            row[part] = [round(statistics.median(later), 2), round(max(later), 2)]
        found.append(row)
    return found


if __name__ == "__main__":
    main()
