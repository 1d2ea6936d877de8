"""Journals: the measurements of a tuning while it goes on, in a file that outlives the process.

While a key is tuned there is a file for it, open and locked as long as the process lives. Each
measurement is appended at once, and the candidate whose first launch is under way is named at the
beginning. So whatever ends the process, SIGKILL included, at most one measurement is lost, and a
launch never waits for a store. The file is removed when a verdict that holds its measurements is
stored, and when the tuning has measured nothing.

A file that a process has left behind is found when the key is met next, and its measurements are
not made again. The candidate that it names has one *strike*: it may have ended the process, or
frozen the machine, which nothing in the process can catch, and every later start would end there,
too. One strike proves nothing: the process may have been killed for another reason, or memory ran
out. A candidate is left out with two strikes, from two processes that ended during its first launch
of the same key on the same GPU. A first launch takes about a millisecond of a tuning of seconds, so
two processes do not end in it by chance; a process in which a candidate hangs is killed there. The
candidate is recorded as one that cannot run, and tried again when such a record does not hold any
more.

The file is 4,096 bytes, JSON and spaces::

    {"below":"v1/<kernel>/<world>/<key>","launching":"9f0c...","strikes":{"77de...":1}}

and then measurements, one after the other, as a store would hold them (`model.records`). Only files
count that belong to this user, to root, or to the owner of the directory above the journals'.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..model.records import BadRecord, Measurement, pack, unpack
from ..system.descriptors import Descriptor
from ..system.file_modes import make_closed_directory

# Strikes of so many candidates are kept. Arbitrary: no server is started that often in vain.
_MOST_STRIKES = 40
_HEAD_BYTES = 4096
# A candidate takes about a kilobyte. Arbitrary.
_MOST_BYTES = 4 << 20
# A directory in which this takes longer is not used again by this process. Arbitrary.
_SLOW_S = 0.5
# So many files are read of one key, which has one for each GPU; and so many names are looked at.
_FILES, _NAMES = 16, 10_000
STRIKES = 2

FOLDER = ".journal"
"""The folder of journals in a store of files."""


class Journal:
    """The file of one key that this process tunes, and what it found there."""

    def __init__(
        self, file: Descriptor, folder: Descriptor, name: str, below: str, owners: Container[int]
    ) -> None:
        self._file, self._folder, self._name = file, folder, name
        self._below = below
        head, measurements, self._end = _contents(file.fileno(), owners)
        self._strikes = _strikes(head)
        self.left_out = [c for c, count in self._strikes.items() if count >= STRIKES]
        """Candidates that have ended two processes."""
        for candidate in self.left_out:
            del self._strikes[candidate]
        self._is_of_use = bool(measurements)
        # A machine that freezes loses what is not on its disk. Waiting for the disk is worth it
        # only where a process has ended before.
        self._careful = bool(self._strikes or self.left_out)
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), self._end)  # without the last one, if a kill cut it off
        self._name_launching(None)

    @contextlib.contextmanager
    def launching(self, candidate: str) -> Iterator[None]:
        """The first launch of a candidate is under way. Of several at once the last is named.

        Two threads must not begin or end one at the same moment.
        """
        self._name_launching(candidate)
        try:
            yield
            self._strikes.pop(candidate, None)  # it has run, and ended no process
        finally:
            self._name_launching(None if self._launching == candidate else self._launching)

    def record(self, measurement: Measurement) -> None:
        """Keep a measurement. Raises ValueError for one that no record can hold."""
        data = pack(measurement)
        with contextlib.suppress(OSError):  # a full disk, or the program has closed it
            if self._end + len(data) > _MOST_BYTES:
                return
            if os.pwrite(self._file.fileno(), data, self._end) == len(data):
                self._end += len(data)
                self._is_of_use = True

    def close(self) -> None:
        """End the journal, and leave its measurements for the next tuning of the key."""
        self._close(forget=not self._is_of_use)

    def forget(self) -> None:
        """End the journal and remove it: all that it holds is in a verdict now."""
        self._close(forget=True)

    def _close(self, *, forget: bool) -> None:
        with contextlib.suppress(OSError):
            if forget:
                os.unlink(self._name, dir_fd=self._folder.fileno())
            # A child that was forked meanwhile has the file open, too.
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)
        self._file.close()
        self._folder.close()

    def _name_launching(self, candidate: str | None) -> None:
        self._launching = candidate
        head = {"below": self._below, "launching": candidate, "strikes": self._strikes}
        data = json.dumps(head).encode()
        with contextlib.suppress(OSError):
            # Always of the same length, in one write: a kill leaves the old head or the new one.
            os.pwrite(self._file.fileno(), data.ljust(_HEAD_BYTES)[:_HEAD_BYTES], 0)
            if self._careful:
                os.fdatasync(self._file.fileno())


class Journals:
    """The journals of one process.

    `directories()` says where they may be, the place for new ones first. Thread-safe.
    """

    def __init__(
        self,
        directories: Callable[[], Sequence[Path]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directories, self._clock = directories, clock
        self._slow: set[Path] = set()

    def begin(self, key: str, device: str, below: str) -> Journal | None:
        """The journal of a key; None if another process has it, or there is no place for it.

        `key` and `device` are parts of a file's name, `below` is the key's folder in the store.
        The first place is taken that may be written to and knows locks.
        """
        for directory in self._usable():
            with self._timed(directory), contextlib.suppress(OSError):
                try:
                    return _begin(directory, f"{key}.{device}", below)
                except BlockingIOError:
                    return None
        return None

    def left(self, key: str) -> list[Measurement]:
        """What other processes have measured of the key, also of tunings that go on."""
        found: list[Measurement] = []
        for directory in self._usable():
            with self._timed(directory):
                for name in _names(directory, f"{key}.")[:_FILES]:
                    with contextlib.suppress(OSError):
                        found += _contents_of(directory / name)[1]
        return found

    def forget(self, key: str) -> None:
        """Remove the journals of a key that no process writes to any more."""
        for directory in self._usable():
            for name in _names(directory, f"{key}."):
                with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
                    folder, _ = lock(opened, directory, name)
                    os.unlink(name, dir_fd=folder.fileno())

    def all(self) -> Iterator[tuple[str, Measurement]]:
        """Every measurement, with its key's folder in the store. For commands: reads all files."""
        for directory in self._usable():
            for name in _names(directory, ""):
                with contextlib.suppress(OSError):
                    head, measurements, _ = _contents_of(directory / name)
                    for measurement in measurements:
                        yield str(head.get("below")), measurement

    def drop(self, key: str, candidate: str) -> bool:
        """Remove a candidate's measurements, but where a process writes to the journal."""
        dropped = False
        for directory in self._usable():
            for name in _names(directory, f"{key}."):
                with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
                    folder, file = lock(opened, directory, name)
                    measurements = _contents(file.fileno(), _owners(directory))[1]
                    kept = [m for m in measurements if m.candidate != candidate]
                    if len(kept) == len(measurements):
                        continue
                    os.ftruncate(file.fileno(), _HEAD_BYTES)
                    os.pwrite(file.fileno(), b"".join(map(pack, kept)), _HEAD_BYTES)
                    if not kept:
                        os.unlink(name, dir_fd=folder.fileno())
                    dropped = True
        return dropped

    def _usable(self) -> list[Path]:
        return [directory for directory in self._directories() if directory not in self._slow]

    @contextlib.contextmanager
    def _timed(self, directory: Path) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            if self._clock() - began > _SLOW_S:
                self._slow.add(directory)


def _begin(directory: Path, name: str, below: str) -> Journal:
    """Raises as `lock`."""
    # It may be the first in a store, and makes its root, too, as open as the place that this is in.
    make_closed_directory(str(directory))
    with contextlib.ExitStack() as opened:
        folder, file = lock(opened, directory, name, os.O_CREAT)
        journal = Journal(file, folder, name, below, _owners(directory))
        opened.pop_all()
        return journal


def lock(
    opened: contextlib.ExitStack, directory: Path, name: str, flags: int = 0
) -> tuple[Descriptor, Descriptor]:
    """The folder, and the file, which no other process writes to; `opened` closes both.

    Raises OSError: BlockingIOError where a process writes to it, or has removed it just now.
    """
    folder = Descriptor(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
    opened.callback(folder.close)
    flags |= os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    file = Descriptor(os.open(name, flags, 0o600, dir_fd=folder.fileno()))
    opened.callback(file.close)
    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        there = os.stat(name, dir_fd=folder.fileno(), follow_symlinks=False).st_ino
    except FileNotFoundError:
        there = None
    if there != os.fstat(file.fileno()).st_ino:
        raise BlockingIOError("the process that had it has removed it")
    return folder, file


def _names(directory: Path, beginning: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_NAMES), strict=False)]
    except OSError:  # most often there is none
        return []
    return sorted(name for name in names if name.startswith(beginning))


def names_in(directory: Path) -> list[str]:
    """The names of all journals there; none where it cannot be listed."""
    return _names(directory, "")


def head_of(path: Path) -> Mapping[str, Any]:
    """What a journal says of itself; nothing where it cannot be read, or another user's is."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _head(os.pread(file, _HEAD_BYTES, 0)) or {}
        finally:
            os.close(file)
    except OSError:
        return {}


def _contents_of(path: Path) -> tuple[Mapping[str, Any], list[Measurement], int]:
    """Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _contents(file, _owners(path.parent))
    finally:
        os.close(file)


def _owners(directory: Path) -> Container[int]:
    """The users whose journals count. Raises OSError."""
    return {0, os.geteuid(), directory.parent.stat().st_uid}


def _contents(
    file: int, owners: Container[int]
) -> tuple[Mapping[str, Any], list[Measurement], int]:
    """Head, measurements, and where the last whole one ends. Raises OSError."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_mode & stat.S_IWOTH:
        raise OSError("no file, or one that every user may write to")
    if status.st_uid not in owners:
        raise OSError("another user's")
    data = os.pread(file, _MOST_BYTES, 0)
    head = _head(data[:_HEAD_BYTES])
    if head is None:  # a new file, or not one of ours
        return {}, [], _HEAD_BYTES
    found, end = [], _HEAD_BYTES
    while (newline := data.find(b"\n", data.find(b"\n", end) + 1) + 1) > end:
        try:
            found.append(unpack(data[end:newline], Measurement))
        except BadRecord:
            break
        end = newline
    return head, found, end


def _head(data: bytes) -> Mapping[str, Any] | None:
    try:
        head = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return head if isinstance(head, dict) else None


def _strikes(head: Mapping[str, Any]) -> dict[str, int]:
    """Strikes by candidate, from the head that a process has left which ended."""
    try:
        found = {str(name): int(count) for name, count in head["strikes"].items()}
        launching = head["launching"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}
    if launching is not None:
        found[str(launching)] = found.get(str(launching), 0) + 1
    return dict(list(found.items())[-_MOST_STRIKES:])
