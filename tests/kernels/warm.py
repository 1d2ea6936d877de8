"""Programs that start in a process which has imported triton, and mostly torch, already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.fakes import ROOT


class WarmPython:
    """Starts programs as `warm_parent` does, one after the other. Its process starts when needed.

    Importing torch and triton is half of what a child with a small kernel costs. `modules` are
    imported, too, with the variables of `environment`; torch is not `without_torch`.
    """

    def __init__(self, *modules: str, without_torch: bool = False, **environment: str) -> None:
        first = ("triton",) if without_torch else ("torch", "triton.testing")
        self._modules, self._environment = (*first, *modules), environment
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        program: Path,
        *arguments: str,
        env: Mapping[str, str],
        cwd: Path,
        told: Path,
        whole: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """What came of the program; it prints into files named by `told`.

        `whole`: with what an interpreter does after a program's exit functions.
        """
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        asked = {
            "program": str(program),
            "arguments": arguments,
            "environment": dict(env),
            "directory": str(cwd),
            "told": str(told),
            "whole": whole,
        }
        print(json.dumps(asked), file=process.stdin, flush=True)
        status = int(process.stdout.readline())
        texts = [Path(f"{told}{end}").read_text() for end in ("", ".err")]
        return subprocess.CompletedProcess([str(program), *arguments], status, *texts)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            path = os.pathsep.join([str(Path(__file__).parent), str(ROOT / "src")])
            self._process = subprocess.Popen(
                [sys.executable, "-c", "import warm_parent; warm_parent.main()", *self._modules],
                env={**os.environ, "PYTHONPATH": path, "TUNEONCE": "0", **self._environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=60)
