"""Claims among the processes of one user on one machine: who does something, and how far that is.

A claim is a lock on a file that ends with its process, however that ends. Who has it says now and
then that it goes on (`Claim.advance`), so that others need not guess from its being alive: a
stopped process is alive. Claims save work and decide nothing: everything may be done twice.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

# Neither follow a link nor wait for a pipe's other end.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_COUNTER_BYTES = 8
# Who unlinks a name may do so between our opening it and our lock. Arbitrary.
_TRIES = 8


class Claim:
    """One that this process has. A forked child has no part in it once it is given up.

    `inherited`: who had it before was ended in the middle of it.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd, self._count = path, fd, _counter(fd) or 0
        self.inherited = self._count > 0
        self.advance()

    def advance(self) -> None:
        """Say that it goes on. Raises nothing."""
        self._count += 1
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, self._count.to_bytes(_COUNTER_BYTES, "little"), 0)

    @property
    def file(self) -> tuple[str, int]:
        """Its path and an open descriptor, for a process that makes a `Claim` of them."""
        return str(self._path), self._fd

    def leave(self) -> None:
        """It is that of another process, which has its descriptor, too. Raises nothing."""
        fd, self._fd = self._fd, -1
        with contextlib.suppress(OSError):
            os.close(fd)

    def give_up(self) -> None:
        """It is over, whatever came of it. Raises nothing."""
        import fcntl

        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        # The name goes first: whoever has the lock after us on this file finds it gone.
        with contextlib.suppress(OSError):
            self._path.unlink()
        # A child that was forked meanwhile holds the same lock, until it is taken off.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


@dataclass(frozen=True)
class Claims:
    """The claims below one directory, which belongs to this user alone."""

    directory: Path

    def take(self, name: str) -> Claim | None:
        """The claim of this name; None: somebody else has it. Raises OSError."""
        import fcntl

        path = self._path(name)
        for _ in range(_TRIES):
            fd = _above_standard(os.open(path, _FLAGS, 0o600))
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise OSError(f"{path} is no file")
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_still(path, fd):
                    return Claim(path, fd)
            except BlockingIOError:
                os.close(fd)
                return None
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        return None

    def progress(self, name: str) -> int | None:
        """How often whoever has it has said that it goes on; None: nobody has, or had it."""
        try:
            fd = os.open(
                self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            return None
        try:
            return _counter(fd)
        finally:
            os.close(fd)

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.claim"

    @staticmethod
    def _is_still(path: Path, fd: int) -> bool:
        """Whether the name is still that of the file that is locked."""
        try:
            return os.path.samestat(path.lstat(), os.fstat(fd))
        except OSError:
            return False


def _above_standard(fd: int) -> int:
    """The same file under a number that no standard stream has, which a child may need."""
    import fcntl

    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def _counter(fd: int) -> int | None:
    try:
        return int.from_bytes(os.pread(fd, _COUNTER_BYTES, 0), "little")
    except OSError:
        return None
