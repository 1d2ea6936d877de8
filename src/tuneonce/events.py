"""What happens in a process, as one file of JSON lines that outlives it.

A server is often killed rather than stopped, so nothing waits for an exit handler: each event is
one ``write`` of one line to ``<events directory>/<UTC time>-<pid>.jsonl``. Events happen on cold
paths only (a key is resolved, a candidate measured, a kernel compiled); a launch whose key is known
writes nothing.

The first line describes the process::

    {"schema":"tuneonce.events/1","pid":71,"started":1763,"mode":"on","argv":["vllm"],"store":"..."}

then, with ``t`` in seconds since ``started``::

    {"t":1.2,"e":"resolve","kernel":"...","outcome":"hit","reason":null,"saved_s":7.9}
    {"t":1.2,"e":"measure","kernel":"...","candidate":"BLOCK=64 num_warps=4","seconds":0.31,...}
    {"t":9.1,"e":"tune","kernel":"...","candidates":25,"measured":25,"seconds":7.9,"compile_s":6.1}
    {"t":9.1,"e":"recheck","kernel":"...","key":"...","regret":0.01,"fixed":false,...}
    {"t":0.8,"e":"compile","kernel":"...","seconds":0.6}
    {"t":0.9,"e":"load","kernel":"...","seconds":0.01}
    {"t":9.4,"e":"ready"}                     start-up is over, what follows happens while serving
    {"t":0.1,"e":"problem","what":"record_unreadable","detail":"..."}
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .paths import make_private_directory

SCHEMA = "tuneonce.events/1"

# Arbitrary bounds: a vLLM start writes about a thousand lines; a kernel whose key never repeats
# must not fill a disk.
MAX_LINES = 50_000
KEEP_FILES = 64
# Beyond these, files go that nobody has written to for a day: a server that runs must not lose its
# file to its own compile workers, of which there may be hundreds.
KEEP_S = 24 * 3600.0

# The files of this module; a directory named by TUNEONCE_EVENTS may hold others.
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}-\d+\.jsonl")


class EventLog:
    """Writes the events of this process. Never raises: a log that fails falls silent.

    A forked child starts a file of its own at its first event.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        mode: str,
        store: str,
        listener: Callable[[dict[str, Any]], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._about = {"mode": mode, "store": store}
        self._listener = listener
        self._clock = clock
        self._lock = threading.Lock()
        self._pid = -1
        self._fd = -1
        self._lines = 0
        self._started = clock()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._pid = -1

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event, and hand it to the listener, which must not raise."""
        with self._lock:
            if self._listener is not None:
                self._listener({"e": event, **fields})
            if self._directory is None:
                return
            if self._pid != os.getpid():
                self._open(self._directory)
            if self._fd < 0 or self._lines >= MAX_LINES:
                return
            self._lines += 1
            self._write({"t": round(self._clock() - self._started, 6), "e": event, **fields})

    def _open(self, directory: Path) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._pid, self._fd, self._lines = os.getpid(), -1, 0
        self._started = self._clock()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._started))
        name = f"{stamp}.{int(self._started % 1 * 1e6):06d}-{self._pid}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            make_private_directory(directory)
            self._fd = os.open(directory / name, flags, 0o600)
        except OSError:
            return
        _remove_oldest(directory, before=self._started - KEEP_S)
        started = {"pid": self._pid, "started": self._started, "argv": _program()}
        self._write({"schema": SCHEMA, **started, **self._about})

    def _write(self, line: dict[str, Any]) -> None:
        try:
            data = json.dumps(line, default=str).encode() + b"\n"
        except Exception:  # a field that JSON cannot hold: its event is lost, not the launch
            return
        try:
            os.write(self._fd, data)
        except OSError:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """Give the file descriptor back; a later event opens a new file."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._pid = -1, -1


def _program() -> list[str]:
    """The command line up to its first option: enough to know a process by, and no secrets."""
    words = list(getattr(sys, "argv", []))
    return list(itertools.takewhile(lambda word: not word.startswith("-"), words[:4]))


def _remove_oldest(directory: Path, *, before: float) -> None:
    try:
        files = sorted(p for p in directory.iterdir() if _NAME.fullmatch(p.name))
        for path in files[:-KEEP_FILES]:
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
    except OSError:
        return


def read_processes(directory: Path) -> Iterator[list[dict[str, Any]]]:
    """The events of each process in `directory`, oldest first, the describing line included.

    A file of another schema is skipped; a line that was cut off by a kill ends its file.
    """
    for path in sorted(directory.glob("*.jsonl")):
        lines = _read_lines(path)
        if lines and lines[0].get("schema") == SCHEMA:
            yield lines


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return lines
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        lines.append(value)
    return lines
