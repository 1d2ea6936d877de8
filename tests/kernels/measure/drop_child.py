"""One thread drops a compilation just when another hands one out.

Prints, as JSON, who has come to an end. Ends by itself, whatever became of the threads.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from triton.compiler import ASTSource

from tests.fakes import RememberedEvents
from tests.kernels.jobs import OBEDIENT, make_scale, shipped
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile import helper_process, workers
from tuneonce.triton.compile.pool import CompilePool

# Only a failure waits so long: first for the threads, then for the end of the process.
TOO_LONG = 10.0


class Watched(CompilePool):
    """Stops who hands out the second job there until the first one is being dropped."""

    inside, dropping = threading.Event(), threading.Event()

    def submit(self, job: dict[str, Any], **options: Any) -> Any:
        if self.inside.is_set() or threading.current_thread() is not threading.main_thread():
            self.inside.set()
            self.dropping.wait(TOO_LONG)
            return super().submit(job, **options)
        future = super().submit(job, **options)
        # Before any callback of who asked for it.
        future.add_done_callback(lambda _: self.dropping.set())
        return future


def main(how: str) -> None:
    faulthandler.dump_traceback_later(6 * TOO_LONG, exit=True)
    helper_process._PROGRAM = OBEDIENT
    workers.CompilePool = Watched
    behind = workers.build_workers(2, RememberedEvents())
    pool = behind.pool()
    fifo = Path(tempfile.mkdtemp()) / "fifo"
    os.mkfifo(fifo)

    def shipment(block: int) -> Any:
        signature = {"x": "*fp32", "out": "*fp32", "n": "i32", "BLOCK": "constexpr"}
        return shipped(ASTSource(make_scale(), signature, {"BLOCK": block}))

    with SimulatedGPU():
        first, second = shipment(64), shipment(128)
        first = dataclasses.replace(first, job={**first.job, "does": ["wait", str(fifo)]})
        future = behind.compile(pool, first, urgent=True).future

        def submits() -> None:
            behind.compile(pool, second, urgent=True).future.result(TOO_LONG)

        def drops() -> None:
            pool.drop([future]) if how == "drop" else future.cancel()

        threads = [threading.Thread(target=work, daemon=True) for work in (submits, drops)]
        threads[0].start()
        Watched.inside.wait(TOO_LONG)
        threads[1].start()
        for thread in threads:
            thread.join(1.5 * TOO_LONG)
    ended = [not thread.is_alive() for thread in threads]
    print(json.dumps({"submitted": ended[0], "dropped": ended[1]}))
    sys.stdout.flush()
    if not all(ended):
        os._exit(0)  # it could not come to its end otherwise


main(*sys.argv[1:])
