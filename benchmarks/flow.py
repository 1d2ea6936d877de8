"""What a launch passes through: prints one JSON document.

    python benchmarks/flow.py > benchmarks/results/flow.json

Three launches of one kernel with six candidates on the simulated GPU, compiled by the real
compiler, each in a new process that has met another kernel before: of a *cold* key, of a *hit*
(the store has its verdict) and of a *warm* key (known to this process). Counted, in all threads
from the call to its return, is what is entered of the package ``tuneonce``: files, functions, and
changes of file (calls of a function in another file than the function called before, in the same
thread). What the simulated GPU itself does is left out, and so are the helper's processes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from documents import give

SCHEMA = "tuneonce.benchmark.flow/1"
CANDIDATES = 6
SECONDS_OF_A_START = 300.0


class Trail:
    """What was entered while it is on."""

    def __init__(self, package: Path) -> None:
        self._package = f"{package}/"
        self._testing = f"{package}/testing/"
        self._last = threading.local()
        self.calls: Counter[CodeType] = Counter()
        self.changes = 0

    def _entered(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        file = code.co_filename
        if not file.startswith(self._package) or file.startswith(self._testing):
            return
        self.calls[code] += 1
        last = getattr(self._last, "file", None)
        if last is not None and last != file:
            self.changes += 1
        self._last.file = file

    def __enter__(self) -> Trail:
        threading.setprofile(self._entered)
        sys.setprofile(self._entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def counted(self) -> dict[str, Any]:
        functions: dict[str, int] = {}
        for code in self.calls:
            file = str(Path(code.co_filename).relative_to(self._package))
            # What a comprehension or a lambda does belongs to the function around it.
            functions[file] = functions.get(file, 0) + (not code.co_name.startswith("<"))
        return {
            "files": len(functions),
            "functions": sum(functions.values()),
            "calls": sum(self.calls.values()),
            "changes_of_file": self.changes,
            "functions_by_file": dict(sorted(functions.items())),
        }


def child(kind: str) -> dict[str, Any]:
    """One launch of this kind, in this process."""
    import torch
    import triton
    import triton.language as tl

    import tuneonce
    from tuneonce.testing import SimulatedGPU

    tuneonce.install()
    configs = [
        triton.Config({"BLOCK": block}, num_warps=warps)
        for block in (64, 128, 256)
        for warps in (2, 4)
    ]
    assert len(configs) == CANDIDATES

    @triton.jit
    def body(x, y, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

    @triton.jit
    def other(x, y, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + i, tl.load(x + i, mask=i < n) - 1, mask=i < n)

    increase = triton.autotune(configs=configs, key=["n"])(body)
    decrease = triton.autotune(configs=configs, key=["n"])(other)

    def grid(meta: dict[str, Any]) -> tuple[int]:
        return (triton.cdiv(4096, meta["BLOCK"]),)

    trail = Trail(Path(tuneonce.__file__).parent)
    with SimulatedGPU(do_bench=True):
        x = torch.zeros(4096)
        body[(1,)](x, x, 4096, BLOCK=16)
        decrease[grid](x, x, 4096)  # what a process does once is done then
        if kind == "warm":
            increase[grid](x, x, 4096)
        with trail:
            increase[grid](x, x, 4096)
        winner = str(increase.best_config)
        tuneonce.ready()
    return {**trail.counted(), "winner": winner}


def start(kind: str, home: Path) -> dict[str, Any]:
    environment = {
        **os.environ,
        "HOME": str(home),
        "TUNEONCE_STORE": str(home / "store"),
        "TRITON_CACHE_DIR": str(home / "triton"),
    }
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        timeout=SECONDS_OF_A_START,
    )
    counted: dict[str, Any] = json.loads(done.stdout)
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", choices=("cold", "hit", "warm"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child)))
        return
    with tempfile.TemporaryDirectory() as directory:
        launches = {kind: start(kind, Path(directory)) for kind in ("cold", "hit", "warm")}
    give({"schema": SCHEMA, "python": platform.python_version(), "launches": launches}, None)


if __name__ == "__main__":
    main()
