"""What happens in a process, as one file of JSON lines that outlives it.

A server is often killed rather than stopped, so nothing waits for an exit handler: each event is
one ``write`` of one line to ``<events directory>/<UTC time>-<pid>.jsonl``, which is opened for it
and closed again: a program may close or reuse every descriptor that it did not open itself. Events
happen on cold paths only (a key is resolved, a candidate measured, a kernel compiled); a launch
whose key is known writes nothing.

The first line describes the process::

    {"schema":"tuneonce.events/1","pid":71,"started":1763,"mode":"on","argv":["vllm"],"store":"..."}

(``"lineage"``, too, the processes that it comes from, and ``"run"`` in one of a ``tuneonce run``),
then, with ``t`` in seconds since ``started``::

    {"t":1.2,"e":"resolve","kernel":"...","outcome":"hit","reason":null,"winner":"BLOCK=64",...}
    {"t":1.2,"e":"measure","kernel":"...","candidate":"BLOCK=64 num_warps=4","seconds":0.31,...}
    {"t":9.1,"e":"tune","kernel":"...","candidates":25,"measured":25,"seconds":7.9,"waited_s":7.9,...}
    {"t":9.1,"e":"outputs","kernel":"...","key":"...","classes":2,"unsteady":[],"wrong":[],...}
    {"t":9.1,"e":"recheck","kernel":"...","key":"...","regret":0.01,"fixed":false,...}
    {"t":9.3,"e":"borrow","kernel":"...","key":"...","nearest":"...","doublings":0.6,...}
    {"t":0.8,"e":"compile","kernel":"...","seconds":0.6,"waited":true,"within":"tune"}
    {"t":0.9,"e":"load","kernel":"...","seconds":0.01,"waited":true}           found on disk
    {"t":0.9,"e":"module_load","kernel":"...","seconds":0.01,"waited":true}    put onto the device
    {"t":0.9,"e":"wait","kernel":"...","seconds":0.4,"waited":true}            for compilers beside
    {"t":1.2,"e":"untuned","kernel":"...","why":"no_programs"}    or "warmup": it decides nothing
    {"t":9.3,"e":"explore","what":"begin","kernel":"...","key":"...","candidates":25,"known":0}
    {"t":9.9,"e":"explore","what":"verdict","kernel":"...","winner":"...","launches":310,...}
    {"t":0.7,"e":"remote","what":"pulled","records":120}    from other machines; "pushed": to them
    {"t":9.4,"e":"ready"}                     start-up is over, what follows happens while serving
    {"t":0.1,"e":"problem","what":"record_unreadable","detail":"..."}

``waited``: a launch stood still for it; ``within``: those seconds are told by another event, too
(`events.work`); within ``replay`` is what was compiled to be ready, for no launch.

Only its user may read a file, but in a directory that a group shares (`system.file_modes`). Where
this user may not write, as in another user's directory, events go to a directory of this user's
own, and what reads the one reads the other, too.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..model.codec import digest
from ..system.ancestry import lineage
from ..system.file_modes import is_shared, make_closed_directory
from ..system.forks import renew_in_child
from ..system.paths import user_directory

SCHEMA = "tuneonce.events/1"

# Arbitrary bounds: a vLLM start writes about a thousand lines; a kernel whose key never repeats
# must not fill a disk.
MAX_LINES = 50_000
MAX_LINE_BYTES = 1 << 20
KEEP_FILES = 64
# Files beyond these are removed if they were not written to for a day: a server that runs must not
# lose its file because its own compile workers, of which there may be hundreds, write theirs.
KEEP_S = 24 * 3600.0

# At most so much is read, of the newest files first, and no line with deeper lists. Arbitrary:
# MAX_LINES of the usual length are 15 MB, and no event of ours has lists in lists in lists.
MAX_FILE_BYTES = 32 << 20
MAX_READ_BYTES = 256 << 20
MAX_FILES_READ = 4096
MAX_DEPTH = 6
# The clocks of two hosts that are no farther apart than this count as one. Arbitrary.
APART_S = 300.0
# No number of an event is larger: no process id, no count, no time since 1970.
MOST = 1e15

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

# The files of this module; a directory named by TUNEONCE_EVENTS may hold others.
_ENDING = ".jsonl"
_NAME = re.compile(rf"\d{{8}}T\d{{6}}\.\d{{6}}-\d+{re.escape(_ENDING)}")


@dataclass
class _File:
    """The file of one process. `lines` counts those after the first; a `silent` file gets none."""

    path: Path
    pid: int
    started: float
    lines: int = 0
    silent: bool = False


class EventLog:
    """Writes the events of this process. Never raises: a log that fails falls silent.

    No thread waits for another: events go into a queue, and a thread that finds no other one
    writing writes all that the queue holds. So a signal handler may emit in the middle of an emit.
    A forked child starts a file of its own at its first event.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        mode: str,
        store: str,
        run: str | None = None,
        listener: Callable[[dict[str, Any]], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._about = {"mode": mode, "store": store, **({} if run is None else {"run": run})}
        self._listener = listener
        self._clock = clock
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        self._writing = threading.Lock()
        # Bounded like the file: the thread that writes may be stuck in a file system.
        self._queue: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MAX_LINES)
        self._file: _File | None = None

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event, and hand it to the listener, which must not raise.

        The listener is called for one event at a time, in a thread that is emitting just then,
        which need not be this one.
        """
        self._queue.append((self._clock(), {"e": event, **fields}))
        # The local name: in a child that is forked meanwhile the attribute is another lock.
        writing = self._writing
        # Looked at again after the lock is free: another thread may have added an event before.
        while self._queue and writing.acquire(blocking=False):
            try:
                while self._queue:
                    self._take(self._queue)
            finally:
                writing.release()

    def _take(self, queue: deque[tuple[float, dict[str, Any]]]) -> None:
        at, event = queue.popleft()
        if self._listener is not None:
            self._listener(event)
        # With another queue this process was forked meanwhile, and the event is its parent's.
        if self._directory is None or queue is not self._queue:
            return
        file = self._file
        if file is None or file.pid != os.getpid():
            file = self._file = self._begin(self._directory, at)
        if not file.silent and file.lines < MAX_LINES:
            file.lines += 1
            self._write(file, {"t": round(at - file.started, 6), **event})

    def _begin(self, directory: Path, at: float) -> _File:
        pid = os.getpid()
        name = f"{_stamp(at)}.{int(at % 1 * 1e6):06d}-{pid}{_ENDING}"
        about = {
            "schema": SCHEMA,
            "pid": pid,
            "started": at,
            "argv": _program(),
            "lineage": lineage(),
            **self._about,
        }
        line = json.dumps(about).encode() + b"\n"
        file = _File(directory / name, pid, at)
        try:
            try:
                _begin_file(file.path, line)
            except OSError as error:
                beside = _beside(directory)
                if error.errno not in _REFUSED or beside is None:
                    raise
                file = _File(beside / name, pid, at)
                _begin_file(file.path, line)
        except OSError:
            file.silent = True
            return file
        _remove_oldest(file.path.parent, before=at - KEEP_S, now=at)
        return file

    @staticmethod
    def _write(file: _File, line: dict[str, Any]) -> None:
        try:
            data = json.dumps(line, default=str).encode() + b"\n"
        except Exception:  # a field that JSON cannot hold: its event is lost, not the launch
            return
        if len(data) > MAX_LINE_BYTES or file.pid != os.getpid():  # forked since it was taken
            return
        try:
            # A file that was removed meanwhile is not made again without its first line.
            _append(file.path, data)
        except OSError:
            file.silent = True

    def close(self) -> None:
        """End this file; a later event begins a new one."""
        self._file = None


def _begin_file(path: Path, line: bytes) -> None:
    """Make a file of events, and its directory. Raises OSError."""
    make_closed_directory(str(path.parent))
    shared = is_shared(path.parent.stat())
    _append(path, line, create=0o640 if shared else 0o600)


def _beside(directory: Path) -> Path | None:
    """Where this user's events go that cannot be written to `directory`; None: nowhere."""
    usual = user_directory(os.environ)
    return None if usual is None else usual / "events" / digest(["str", str(directory)], length=12)


def _append(path: Path, data: bytes, *, create: int | None = None) -> None:
    """Write to the end of a regular file, which is opened for it. Raises OSError.

    `create`: it is made, with these permissions.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    fd = os.open(path, flags if create is None else flags | os.O_CREAT, create or 0)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or os.write(fd, data) != len(data):
            raise OSError(errno.EIO, "cannot be written", str(path))
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


def _stamp(at: float) -> str:
    """The beginning of the name of a file that was begun then: names sort by time."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(at))


def _program() -> list[str]:
    """The command line up to its first option: enough to know a process by, and no secrets."""
    words = list(getattr(sys, "argv", []))
    return list(itertools.takewhile(lambda word: not word.startswith("-"), words[:4]))


def _remove_oldest(directory: Path, *, before: float, now: float) -> None:
    try:
        files = [p for p in directory.iterdir() if _NAME.fullmatch(p.name)]
    except OSError:
        return
    earliest, latest = _stamp(before), _stamp(now)
    for path in _in_order(files, now=now)[:-KEEP_FILES]:
        if earliest <= path.name <= latest:  # by its name, begun within the last day
            continue
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < before:
                path.unlink(missing_ok=True)


def _in_order(paths: Iterable[Path], *, now: float) -> list[Path]:
    """Oldest first, by the times in their names.

    The clock of another host may be ahead, and its files would be the newest for ever. So a file
    whose name is of the future counts by the time of its last write, and as the oldest if that is
    of the future, too.
    """
    newest = _stamp(now + APART_S)

    def when(path: Path) -> str:
        if path.name <= newest:
            return path.name
        try:
            written = path.lstat().st_mtime
        except OSError:
            return ""
        return _stamp(written) if written <= now + APART_S else ""

    return sorted(paths, key=lambda path: (when(path), path.name))


# -- reading -------------------------------------------------------------------------------------


def read_processes(
    directory: Path, *, since: float | None = None
) -> Iterator[list[dict[str, Any]]]:
    """The events of each process in `directory`, oldest first, the describing line included.

    With `since`, in seconds since 1970, only of those that wrote their first event after it.

    A file of another schema is skipped. A line that was cut off by a kill, or is no event, ends its
    file. Only regular files are read, no links: in all the newest `MAX_READ_BYTES`, of each file
    the first `MAX_FILE_BYTES`. Raises nothing.
    """
    now = time.time()
    for path, size, written in files_to_read(directory, since, now):
        lines = _read_lines(path, size)
        if lines and lines[0].get("schema") == SCHEMA:
            if number(lines[0].get("started")) > now + APART_S >= written:
                # The host's clock is ahead: its last event was at the time of the last write.
                lines[0]["started"] = written - number(lines[-1].get("t"))
            yield lines


def number_or_none(value: object) -> float | None:
    """A field of an event as a number; None for what is none, or none that a process writes."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < MOST else None


def number(value: object) -> float:
    """The same, and 0 where there is none."""
    return number_or_none(value) or 0.0


def files_to_read(
    directory: Path, since: float | None, now: float
) -> list[tuple[Path, int, float]]:
    """The files to be read, oldest first, how much of each, and when it was last written."""
    earliest = "" if since is None else _stamp(since)
    names: list[Path] = []
    for place in (directory, _beside(directory)):
        with contextlib.suppress(OSError):
            if place is not None and place.is_dir():
                names += [
                    path
                    for path in place.iterdir()
                    if path.name.endswith(_ENDING) and path.name >= earliest
                ]
    paths = _in_order(names, now=now)
    found: list[tuple[Path, int, float]] = []
    left = MAX_READ_BYTES
    for path in reversed(paths[-MAX_FILES_READ:]):
        try:
            about = path.lstat()
        except OSError:
            continue
        size = min(about.st_size, MAX_FILE_BYTES)
        if stat.S_ISREG(about.st_mode) and size <= left:
            left -= size
            found.append((path, size, about.st_mtime))
    return found[::-1]


def _read_lines(path: Path, size: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    # The end of the file, too, is the end of a line that is no JSON.
    for line in read_part(path, 0, size).decode("utf-8", "replace").split("\n"):
        event = read_event(line)
        if event is None:
            break
        lines.append(event)
    return lines


def read_event(line: str) -> dict[str, Any] | None:
    """The event of a line; None for what is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and _is_shallow(value, MAX_DEPTH) else None


def read_part(path: Path, offset: int, size: int) -> bytes:
    """So many bytes of a regular file, from there on; nothing if there is no such file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return b""
            file.seek(offset)
            return file.read(size)
    except OSError:
        return b""


def _is_shallow(value: Any, depth: int) -> bool:
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_shallow(one, depth - 1) for one in inner)
    return True
