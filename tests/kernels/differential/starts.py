"""Starts programs on a simulated GPU, each in a fork of this process, and says what each launched.

    python starts.py DOCUMENT < starts.json

Reads a list of starts, which are run one after the other::

    {"modules": ["kernels_memory"], "only": null, "arm": null, "home": ..., "store": ...,
     "product": ..., "results": true}

The programs of a start are the functions `program_*` of modules beside this file, or those of them
that are named in `only`. `arm` is None for stock Triton, tuneonce's number of workers otherwise.
Triton's cache and the events lie in `home`. DOCUMENT is a list in the same order: what each program
launched, by its name.

The process that forks has imported torch and triton and digested Triton's installation, and done
nothing else: a start has all that a new process has, without paying for that. Modules with kernels
are imported in the fork.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import torch  # noqa: F401  so that forks have it
import triton.testing  # noqa: F401
from program_ends import end_program

from tuneonce.triton.seams.compilers import installation_digest

PREFIX = "program_"
Result = dict[str, Any]


def spread(launch: Any) -> float:
    """Milliseconds: so long that a benchmark makes few launches; equal, or a tenth apart.

    So who wins is never decided by what is a tie.
    """
    digest = hashlib.blake2b(launch.candidate.encode(), digest_size=4).digest()
    return 5.0 * 1.1 ** (int.from_bytes(digest, "big") % 24)


class Recorder:
    """Launches for a program, and keeps what was launched and noted: it must be as with stock."""

    def __init__(self, gpu: Any) -> None:
        self.gpu = gpu
        self.launched: list[Result] = []
        self.noted: list[Any] = []

    def launch(self, kernel: Any, *args: Any, grid: Any = (4,), **kwargs: Any) -> None:
        """Launch `kernel`. What that raises is kept, too, and goes no further."""
        try:
            binary = kernel[grid](*args, **kwargs)
        except Exception as error:
            text = f"{error} {error.__cause__!r}"[-300:]
            self.launched.append({"error": type(error).__name__, "text": text})
            return
        asm = {name: str(binary.asm[name]) for name in ("ttir", "ptx")}
        self.launched.append({"kernel": binary.name, "hash": binary.hash, **asm})

    def note(self, *values: Any) -> None:
        self.noted += map(repr, values)

    def done(self, error: str | None = None) -> Result:
        return {"launched": self.launched, "noted": self.noted, "error": error}


def start(told: Result) -> dict[str, Result]:
    """Run one start in this process, which is a new one."""
    home = Path(told["home"])
    home.mkdir(parents=True, exist_ok=True)
    os.environ["TRITON_CACHE_DIR"] = str(home / "triton")
    os.environ["TUNEONCE_STORE"] = told["store"]
    os.environ["TUNEONCE_EVENTS"] = str(home / "events")
    os.environ["TUNEONCE"] = "0" if told["arm"] is None else "1"
    if told["arm"] is not None:
        os.environ["TUNEONCE_WORKERS"] = str(told["arm"])
        import tuneonce

        assert tuneonce.install()
    from tuneonce.testing import SimulatedGPU

    results: dict[str, Result] = {}
    with SimulatedGPU(do_bench=True, times=spread, product=told["product"]) as gpu:
        for module in map(importlib.import_module, told["modules"]):
            for name in [name for name in vars(module) if name.startswith(PREFIX)]:
                if told["only"] is None or name.removeprefix(PREFIX) in told["only"]:
                    results[name.removeprefix(PREFIX)] = run(getattr(module, name), Recorder(gpu))
    return results


def run(program: Any, recorder: Recorder) -> Result:
    try:
        program(recorder)
    except Exception:
        return recorder.done(traceback.format_exc()[-4000:])
    return recorder.done()


def forked(told: Result) -> tuple[int, int]:
    """A new process, and where its answer can be read; there, it does not return."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid:
        os.close(sink)
        return pid, source
    os.close(source)
    results = start(told)
    with os.fdopen(sink, "w") as stream:
        json.dump(results, stream)
    end_program()


def main(document: str) -> None:
    answers = []
    installation_digest()
    for told in json.load(sys.stdin):
        pid, source = forked(told)
        with os.fdopen(source) as stream:
            answer = stream.read()
        _, status = os.waitpid(pid, 0)
        if code := os.waitstatus_to_exitcode(status):
            raise SystemExit(f"a start ended with {code}: {told}")
        answers.append(json.loads(answer))
    Path(document).write_text(json.dumps(answers))


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # kernels print
        main(*sys.argv[1:])
