"""The processes of one ``tuneonce run``, and the line that tells at its end what they came to.

`tuneonce run` becomes the program that it runs, which keeps its process id, its signals, its exit
status and, in a container, its place as process 1: a parent that stayed would have to pass all of
that on, and would leave the program behind when it is killed itself. So the line is printed by the
program's first process as it ends, where that is a Python that ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..system.ancestry import started_ticks
from ..system.paths import may_write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .history import Events
    from .totals import Totals

VARIABLE = "TUNEONCE_RUN"
"""Set by `tuneonce run` for all processes of the run; not for people."""

# So long the end of a program waits for a slow file system, and for the reader of its errors. Both
# arbitrary; once the time is over, no further file is read.
_READ_S, _WRITE_S = 2.0, 1.0


def new_run() -> str:
    """The name of a run that begins with this process, whatever program it becomes."""
    return f"{os.getpid()}.{started_ticks()}.{int(time.time())}"


def is_first(run: str) -> bool:
    """Whether this process is the one that the run began with."""
    return run.startswith(f"{os.getpid()}.{started_ticks()}.")


def tell(run: str, directory: Path | None, here: Totals | None) -> None:
    """Print what the processes of a run found, tuned and saved. Raises nothing.

    `directory` is that of their events, `here` the totals of this process, None if it never met
    Triton.
    """
    with contextlib.suppress(Exception):
        _print(f"tuneonce: {line(run, directory, here)}\n")


def line(run: str, directory: Path | None, here: Totals | None) -> str:
    """The sentence of `tell`."""
    history = [] if directory is None else list(_events_of(run, directory))
    if not history and directory is not None and not may_write(directory):
        return f"what was tuned is not known: no events can be written to {directory}"
    if not history and here is None:
        return "no autotuned kernel was launched"
    from .totals import Totals, total

    if directory is None:
        found, where = here or Totals(), "in this process"
    else:
        found = total(history)
        where = f"in {found.processes} process{'' if found.processes == 1 else 'es'}"
    if not found.met:
        return "no autotuned kernel was launched"
    problems = "; there were problems, see `tuneonce stats`" if found.problems else ""
    return f"{found.sentence()}, {where}{problems}"


def _events_of(run: str, directory: Path) -> Iterator[Events]:
    from .log import APART_S, read_processes

    try:
        began = float(run.rpartition(".")[2])
    except ValueError:
        return
    until = time.monotonic() + _READ_S
    for events in read_processes(directory, since=began - APART_S):
        if events[0].get("run") == run:
            yield events
        if time.monotonic() > until:
            return


def _print(text: str) -> None:
    """Write to standard error without blocking for long or changing the exit status."""
    stream = sys.stderr
    stream.flush()
    # A reader that is gone must not end the program in place of its own end.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    fd = stream.fileno()
    if select.select([], [fd], [], _WRITE_S)[1]:
        os.write(fd, text.encode("utf-8", "replace"))
