"""Knows, at the next start, which candidate the process was launching when it ended.

A candidate may end the process, or freeze the machine, the first time that it is launched; nothing
in the process can catch that, and every later start would end there, too. So while a key is tuned
there is a small file for it: it names the candidate whose first launch is under way, and it is
removed when the tuning ends in any way that the process lives to see. A file that is left behind
and that nobody has locked is that of a process which was ended meanwhile, and the candidate that it
names has one strike.

One strike proves nothing: somebody may have killed the process, or memory ran out. A candidate is
left out with two, from two processes that ended during its first launch of the same key on the same
GPU. A first launch takes about a millisecond of a tuning of seconds, so that happens to nobody by
chance; a candidate that hangs is killed there by somebody. It is recorded as one that cannot run,
and tried again when such a record does not hold any more.

No store is asked for it: a write for each candidate is a write to a file that is open already.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..modes import make_closed_directory
from .descriptors import Descriptor

# Of so many candidates strikes are kept. Arbitrary: nobody starts a server that often in vain.
_MOST = 40
_BYTES = 4096
# A mount on which this takes longer is not asked again in this process. Arbitrary.
_SLOW_S = 0.5
STRIKES = 2


class Mark:
    """The file of one key that this process tunes, and what it found there."""

    def __init__(self, file: Descriptor, folder: Descriptor, name: str) -> None:
        self._file, self._folder, self._name = file, folder, name
        self._strikes = _strikes(os.pread(file.fileno(), _BYTES, 0))
        self.left_out = [c for c, count in self._strikes.items() if count >= STRIKES]
        """Candidates that have ended two processes."""
        for candidate in self.left_out:
            del self._strikes[candidate]
        # A machine that freezes forgets what is not on its disk; waiting for that is worth it
        # where something has happened before.
        self._careful = bool(self._strikes or self.left_out)
        self._write(None, sync=True)

    @contextlib.contextmanager
    def launching(self, candidate: str) -> Iterator[None]:
        """The first launch of a candidate is under way."""
        self._write(candidate, sync=self._careful)
        try:
            yield
            self._strikes.pop(candidate, None)  # it was not its fault
        finally:
            self._write(None, sync=False)

    def close(self) -> None:
        """The tuning has ended, and this process has not."""
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder.fileno())
        self._file.close()
        self._folder.close()

    def _write(self, candidate: str | None, *, sync: bool) -> None:
        text = json.dumps({"launching": candidate, "strikes": self._strikes})
        with contextlib.suppress(OSError):  # a full disk, or the program has closed it
            # Always as long, in one write: a kill leaves the one or the other.
            os.pwrite(self._file.fileno(), text.encode().ljust(_BYTES)[:_BYTES], 0)
            if sync:
                os.fdatasync(self._file.fileno())


class Marks:
    """Those of one process. `directory()` says where; None: nowhere."""

    def __init__(
        self,
        directory: Callable[[], Path | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._clock = directory, clock
        self._slow = False

    def begin(self, name: str) -> Mark | None:
        """The mark of a key; None if another process has it, or there is no place for it."""
        if self._slow:
            return None
        began = self._clock()
        with contextlib.suppress(OSError):
            directory = self._directory()
            if directory is not None:
                mark = _begin(directory, name)
                self._slow = self._clock() - began > _SLOW_S
                return mark
        return None


def _begin(directory: Path, name: str) -> Mark | None:
    """Raises OSError."""
    # It may be the first of the store, whose root is as open as the place that it is in.
    make_closed_directory(str(directory))
    with contextlib.ExitStack() as opened:
        folder = Descriptor(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        opened.callback(folder.close)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        file = Descriptor(os.open(name, flags, 0o666, dir_fd=folder.fileno()))
        opened.callback(file.close)
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed it just now.
        there = os.stat(name, dir_fd=folder.fileno(), follow_symlinks=False)
        if there.st_ino != os.fstat(file.fileno()).st_ino:
            return None
        mark = Mark(file, folder, name)
        opened.pop_all()
        return mark


def _strikes(data: bytes) -> dict[str, int]:
    """By candidate, from what a process has left that is not there any more."""
    try:
        left = json.loads(data)
        found = {str(name): int(count) for name, count in left["strikes"].items()}
        launching = left["launching"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}  # a new file, or somebody's
    if launching is not None:
        found[str(launching)] = found.get(str(launching), 0) + 1
    return dict(list(found.items())[-_MOST:])
