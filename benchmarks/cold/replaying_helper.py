"""A compile helper whose compilations were made before: it records them, or sleeps in their place.

It stands where `triton.compile.worker.compile_helper` stands, in processes of
``cold_tune.py --record`` and ``--replay``. With it two cores show what sixteen compilers would
do, apart from what these would take from each other: each compilation sleeps for the seconds that
it once took, alone or beside one other, and then puts its files where it put them then.
"""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
HELPER = REPOSITORY / "src/tuneonce/triton/compile/worker/compile_helper.py"

Compile = Callable[[dict[str, Any]], dict[str, Any]]


def place(directory: Path, job: dict[str, Any]) -> Path:
    """Of one compilation, whatever process asks for it."""
    what = [job["source_hash"], job["backend_hash"], str(job["target"]), str(job["options"])]
    return directory / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def record(directory: Path, compile_job: Compile) -> Compile:
    """Compile, and keep what came of it."""

    def recording(job: dict[str, Any]) -> dict[str, Any]:
        to = place(directory, job)
        began = time.perf_counter()
        try:
            made = compile_job(job)
        except Exception as error:
            failed = [type(error).__name__, str(error)]
            keep(to, error=failed, seconds=time.perf_counter() - began)
            raise
        origin = cache_directory(job)
        shutil.copytree(origin, to, dirs_exist_ok=True)
        keep(to, **made, origin=origin)
        return made

    def keep(to: Path, **what: Any) -> None:
        to.with_suffix(".json").write_text(json.dumps(what))

    return recording


def replay(directory: Path, compile_job: Compile) -> Compile:
    """Sleep, and put the files there; what is not recorded is, now."""
    anew = record(directory, compile_job)

    def replaying(job: dict[str, Any]) -> dict[str, Any]:
        made_then = place(directory, job)
        try:
            kept = json.loads(made_then.with_suffix(".json").read_text())
        except OSError:
            return anew(job)
        time.sleep(kept["seconds"])
        if "error" in kept:
            name, text = kept["error"]
            raise type(name, (Exception,), {})(text)
        to = Path(cache_directory(job))
        # The group, which makes the others a binary, comes last and holds their directory.
        for file in sorted(made_then.iterdir(), key=lambda file: file.name.startswith("__grp__")):
            data = file.read_bytes()
            if file.name.startswith("__grp__"):
                data = data.replace(kept["origin"].encode(), str(to).encode())
            partial = to / f"partial-{os.getpid()}"
            partial.write_bytes(data)
            partial.replace(to / file.name)
        return {"seconds": kept["seconds"]}

    return replaying


def cache_directory(job: dict[str, Any]) -> str:
    """Where Triton keeps this binary, or where it is kept aside; it is made if need be."""
    from triton import knobs
    from triton.runtime.cache import get_cache_manager

    with knobs.cache.scope():
        vars(knobs.cache)["dir"] = job["staging"] or job["knobs"]["cache"]["dir"]
        return str(get_cache_manager(job["hash"]).cache_dir)


def main() -> None:
    helper = runpy.run_path(str(HELPER), run_name="compile_helper")
    what, directory = os.environ["COLD_COMPILES"].split(":", 1)
    module = helper["compile_job"]
    kept = Path(directory)
    module.compile_job = {"record": record, "replay": replay}[what](kept, module.compile_job)
    helper["main"]()


if __name__ == "__main__":
    main()
