"""The compile helper, whose children do what a job says before they compile.

Started in the helper's place by tests: a job that has the entry ``does`` is obeyed first.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

HELPER = Path(__file__).parents[2] / "src/tuneonce/triton/compile/worker/compile_helper.py"

spec = importlib.util.spec_from_file_location("compile_helper", HELPER)
helper = importlib.util.module_from_spec(spec)
sys.modules["compile_helper"] = helper
spec.loader.exec_module(helper)


def obey(what, *rest):
    if what == "wait":  # until somebody opens the FIFO to write
        Path(rest[0]).read_bytes()
    elif what == "hold":  # with a file open, as while it assembles
        tempfile.mkstemp()
        Path(rest[0]).read_bytes()
    elif what == "litter":  # without end; the FIFO tells when it has begun
        Path(rest[0]).write_bytes(b"")
        while True:
            tempfile.mkstemp()
    elif what == "pause":
        import signal

        signal.pause()
    elif what == "system":
        os.system(rest[0])
    elif what == "kill":
        os.kill(os.getpid(), rest[0])
    elif what == "exit":
        os._exit(rest[0])
    elif what == "fail":
        raise OSError(rest[0], os.strerror(rest[0]))
    elif what == "import":
        __import__(rest[0])
    else:
        raise ValueError(what)


compile_job = helper.compile_job.compile_job


def obedient(job):
    if "does" in job:
        obey(*job["does"])
    return compile_job(job)


helper.compile_job.compile_job = obedient

if __name__ == "__main__":
    helper.main()
