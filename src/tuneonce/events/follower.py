"""The totals of a server whose processes are several, while they write their events.

The process that answers for a server's metrics is often not the one that launches kernels: with
vLLM an API server has engine cores below it, and these have workers. Each writes its events into a
file of its own (`events.log`), whose first line says which processes it comes from. So the totals
of one process and all that it has started are in a directory, for everybody who may read it.

What is read is bounded: only what was added since the last time, at most once in `EVERY_S`, at most
`MOST_BYTES` then (the rest the next time), and in a thread that nobody waits for longer than
`WAIT_S`. What was counted stays counted when its process has ended and its file is gone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..system.ancestry import age_s, this_process
from ..system.forks import renew_in_child
from ..system.threads import BoundedCalls, Overdue
from .log import APART_S, MAX_LINE_BYTES, SCHEMA, files_to_read, read_event, read_part
from .totals import Totals

# All arbitrary. Scrapes are 15 s apart, usually. A start of vLLM writes some 300 kB. So many bytes
# are 1,500 lines and take 20 ms on one core of a server's processor, which its requests may need
# (measured, 12 us a line). An answer may be made in a server's event loop.
EVERY_S = 2.0
MOST_BYTES = 1 << 18
WAIT_S = 0.05
_FIRST_BYTES = 1 << 14


@dataclass
class _File:
    """How far a file was read. One that is `over` is not read any more.

    `line` is how long its next line is at least, if that is more than is usually read.
    """

    offset: int = 0
    line: int = 0
    begun: bool = False
    serving: bool = False
    over: bool = False


class Follower:
    """The totals of this process and of all that it has started. Thread-safe; raises nothing.

    `run`, too: the processes of that ``tuneonce run`` count, wherever they were started.
    """

    def __init__(
        self,
        directory: Path,
        *,
        run: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._process = this_process()
        # Older files are of processes that were there before this one.
        self._since = time.time() - age_s() - APART_S
        self._run = run
        self._clock = clock
        self._totals = Totals()
        self._files: dict[str, _File] = {}
        self._read_at = float("-inf")
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, where nobody reads."""
        self._reading = threading.Lock()
        self._calls = BoundedCalls()

    def now(self) -> Totals:
        """The totals so far, as far as they are read."""
        reading = self._reading
        if self._clock() - self._read_at >= EVERY_S and reading.acquire(blocking=False):
            self._read_at = self._clock()
            with contextlib.suppress(Overdue):  # it goes on, and is in the next answer
                self._calls(lambda: self._read_and(reading.release), WAIT_S)
        return self._totals

    def _read_and(self, release: Callable[[], None]) -> None:
        try:
            self._read()
        finally:
            release()

    def _read(self) -> None:
        left = MOST_BYTES
        for path, size, _ in files_to_read(self._directory, self._since, time.time()):
            file = self._files.setdefault(str(path), _File())
            while not file.over and file.offset < size:
                if left <= 0:
                    return
                # Most files are of other programs, as their first lines say.
                wanted = max(left, file.line) if file.begun else _FIRST_BYTES
                data = read_part(path, file.offset, min(size - file.offset, wanted))
                left -= len(data)
                if not self._take(file, data):
                    break

    def _take(self, file: _File, data: bytes) -> bool:
        """Count what is whole of these bytes. False: nothing is."""
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:  # a line that is being written, a long one, or none that we would write
            file.over = len(rest) >= (MAX_LINE_BYTES if file.begun else _FIRST_BYTES)
            file.line = min(2 * len(rest), MAX_LINE_BYTES)
            return False
        file.offset, file.line = file.offset + len(data) - len(rest), 0
        for line in whole.split(b"\n"):
            event = read_event(line.decode("utf-8", "replace"))
            if event is None:
                file.over = True
                break
            if file.begun:
                self._totals.add(event, serving=file.serving)
                file.serving = file.serving or event.get("e") == "ready"
            elif self._is_ours(event):
                file.begun = True
                self._totals.processes += 1
            else:
                file.over = True
                break
        return True

    def _is_ours(self, about: dict[str, Any]) -> bool:
        if about.get("schema") != SCHEMA:
            return False
        if self._run is not None and about.get("run") == self._run:
            return True
        lineage = about.get("lineage")
        return isinstance(lineage, list) and self._process in lineage
