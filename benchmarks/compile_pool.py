"""Ways to compile the candidates of a key at once, compared on real candidates; no GPU needed.

The candidates are those of one small call of fla-core's Gated DeltaNet operator
(`fla_workload.py`), taken on a simulated GPU: their code is generated once and kept as the jobs
that go to the compile helper. Then every way compiles all of them, in a new process and into an
empty cache:

``serial``      one after the other in one process, as stock Triton
``threads``     threads of one process
``workers``     processes forked once, each compiling one job after another
``helper``      a process forked for every job (what tuneonce does)

    python benchmarks/compile_pool.py --out compile-pool.json [--workers 2] [--repeats 3]

Prints one JSON document: seconds of every run (the ways take turns), what starting a helper and a
fork cost, and the share of the code generation that stays in the program's process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from documents import give

from tuneonce.triton.compile.worker import frames

SCHEMA = "tuneonce.compile-pool/1"
Jobs = list[dict[str, Any]]


# -- the jobs ------------------------------------------------------------------------------------


def collect(path: Path) -> dict[str, Any]:
    """Write the workload's jobs to `path`; says how long generating their code took."""
    import fla_workload

    import tuneonce
    from tuneonce.testing import SimulatedGPU
    from tuneonce.triton.compile.compilations import Compilations
    from tuneonce.triton.compile.pool import CompilePool

    jobs: Jobs = []
    front_s = 0.0
    submit, send = CompilePool.submit, Compilations._send

    def keep(self: Any, job: dict[str, Any], **options: Any) -> Any:
        jobs.append(job)
        return submit(self, job, **options)

    def timed(self: Any, *args: Any) -> Any:
        nonlocal front_s
        before = self.front_s
        try:
            return send(self, *args)
        finally:
            front_s += self.front_s - before

    CompilePool.submit, Compilations._send = keep, timed  # type: ignore[method-assign]
    os.environ["TUNEONCE_WORKERS"] = "2"
    tuneonce.install()
    with SimulatedGPU(do_bench=True):
        name = "dense 1024"
        fla_workload.run("cpu", calls={name: fla_workload.SMALL[name]}, again=0)
    path.write_bytes(frames.encode("jobs", jobs))
    return {"jobs": len(jobs), "front_s": front_s}


def load_jobs(path: Path, cache: str) -> Jobs:
    [[_, jobs]] = frames.Reader().feed(path.read_bytes())
    for job in jobs:
        job["environment"]["TRITON_CACHE_DIR"] = job["knobs"]["cache"]["dir"] = cache
    return jobs


# -- the ways ------------------------------------------------------------------------------------


def load_compiler() -> None:
    import triton.compiler.compiler
    import triton.runtime.cache  # noqa: F401

    from tuneonce.triton.compile.worker import compile_job
    from tuneonce.triton.seams import compilers

    setup = {
        "path": compilers.import_path(),
        "files": compilers.compiler_files(),
        "python": sys.version_info[:3],
        "triton_key": compilers.installation_digest(),
    }
    compile_job.load_compiler(setup)


def compile_one(job: dict[str, Any], *, enter: bool = True) -> float:
    """Seconds of one compilation in this process, as a child of the helper does it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import compiler

    from tuneonce.triton.compile.worker import compile_job

    began = time.perf_counter()
    if enter:
        compile_job.triton_backend(job)
    source = compile_job.shipped(compiler, job)
    compiler.compile(source, target=GPUTarget(*job["target"]), options=job["options"])
    return time.perf_counter() - began


def serial(jobs: Jobs, workers: int) -> dict[str, Any]:
    load_compiler()
    began = time.perf_counter()
    each = [compile_one(job) for job in jobs]
    return {"seconds": time.perf_counter() - began, "slowest_s": max(each), "fork_ms": fork_ms()}


def threads(jobs: Jobs, workers: int) -> dict[str, Any]:
    from tuneonce.triton.compile.worker import compile_job

    load_compiler()
    compile_job.triton_backend(jobs[0])
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda job: compile_one(job, enter=False), jobs))
    return {"seconds": time.perf_counter() - began}


def forked(jobs: Jobs, workers: int) -> dict[str, Any]:
    import multiprocessing

    load_compiler()
    began = time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(compile_one, jobs))
    return {"seconds": time.perf_counter() - began}


def helper(jobs: Jobs, workers: int) -> dict[str, Any]:
    import triton  # noqa: F401

    from tuneonce.triton.compile.pool import CompilePool
    from tuneonce.triton.seams import compilers

    compilers.installation_digest()  # needed for the first key of any process that has tuneonce
    pool = CompilePool(workers=workers)
    began = time.perf_counter()
    done = [future.result() for future in [pool.submit(job) for job in jobs]]
    seconds = time.perf_counter() - began
    assert pool._helper is not None
    pss = psutil.Process(pool._helper.process.pid).memory_full_info().pss
    pool.close()
    return {
        "seconds": seconds,
        "start_s": pool.start_s,
        "compiling_s": sum(one.seconds for one in done),
        "helper_mib": pss / 2**20,
    }


WAYS: dict[str, Callable[[Jobs, int], dict[str, Any]]] = {
    "serial": serial,
    "threads": threads,
    "workers": forked,
    "helper": helper,
}


def fork_ms() -> float:
    """What forking a process that has the compiler loaded, and waiting for its end, takes."""
    taken = []
    for _ in range(30):
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken)


# -- all of it -----------------------------------------------------------------------------------


def start(home: Path, *args: str) -> dict[str, Any]:
    """Run a part of this program in a new process with an empty cache."""
    with tempfile.TemporaryDirectory(dir=home) as cache:
        environment = {
            **os.environ,
            "TRITON_CACHE_DIR": cache,
            "TUNEONCE_STORE": f"{cache}/store",
            "TRITON_DEFAULT_FP_FUSION": "1",
        }
        done = subprocess.run(
            [sys.executable, __file__, *args, "--cache", cache],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def compare(workers: int, repeats: int) -> dict[str, Any]:
    import fla_workload

    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        jobs = str(home / "jobs")
        collected = start(home, "--jobs", jobs, "--part", "collect")
        for number in range(repeats):
            # In turns, and every other time backwards: a neighbour's work hits all alike.
            for way in list(WAYS)[:: 1 if number % 2 == 0 else -1]:
                print(f"{way} ({number + 1} of {repeats})", file=sys.stderr)
                part = ("--jobs", jobs, "--part", way, "--workers", str(workers))
                runs[way].append(start(home, *part))
    median = {
        way: round(statistics.median(run["seconds"] for run in done), 2)
        for way, done in runs.items()
    }
    return {
        "schema": SCHEMA,
        "command": f"python benchmarks/compile_pool.py --workers {workers} --repeats {repeats}",
        "versions": fla_workload.versions(),
        "machine": {"cpus": os.cpu_count(), "kind": platform.machine()},
        "workers": workers,
        **collected,
        "median_s": median,
        "serial_over_this": {way: round(median["serial"] / s, 2) for way, s in median.items()},
        "front_share": round(collected["front_s"] / (collected["front_s"] + median["serial"]), 3),
        "helper_start_s": round(statistics.median(r["start_s"] for r in runs["helper"]), 3),
        "helper_mib": round(statistics.median(r["helper_mib"] for r in runs["helper"])),
        "fork_ms": round(statistics.median(r["fork_ms"] for r in runs["serial"]), 2),
        "runs": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the document here instead of to stdout")
    parser.add_argument("--part", choices=["collect", *WAYS], help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    args = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        if args.part == "collect":
            document = collect(args.jobs)
        elif args.part is not None:
            document = WAYS[args.part](load_jobs(args.jobs, args.cache), args.workers)
        else:
            document = compare(args.workers, args.repeats)
    give(document, args.out)


if __name__ == "__main__":
    main()
