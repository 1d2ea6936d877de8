"""Descriptors of ours in a process that may close them, or open a file of its own in their place.

Daemons and sandboxes close whatever they did not open themselves, and the next file that the
program opens gets the number. So a number counts only as long as it stands for what it stood for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket


class Descriptor:
    """One descriptor. Every method raises OSError, `close` nothing, once it is not ours any more.

    Between the check and the system call another thread may still close it; that cannot be
    excluded.
    """

    def __init__(self, fd: int) -> None:
        """Takes over `fd`, under a number that no standard stream has. Raises OSError."""
        try:
            # Not 0, 1 or 2, where a program that has closed its streams may write to.
            self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        finally:
            os.close(fd)
        self._identity = self._look()
        self._closed = False

    def fileno(self) -> int:
        """The number."""
        try:
            ours = not self._closed and self._look() == self._identity
        except OSError:
            ours = False
        if not ours:
            raise OSError("the program has closed a descriptor of tuneonce's")
        return self._fd

    def read(self, count: int) -> bytes:
        """Some bytes; none at the end."""
        return os.read(self.fileno(), count)

    def send(self, data: bytes) -> None:
        """Send all of `data` to a socket."""
        view = socket.socket(fileno=self.fileno())
        try:
            # Some programs let SIGPIPE kill them.
            view.sendall(data, socket.MSG_NOSIGNAL)
        finally:
            view.detach()  # so that nothing is closed when it is collected

    def close(self) -> None:
        """Close it if it is still ours; a second time does nothing."""
        with contextlib.suppress(OSError):
            fd = self.fileno()
            self._closed = True
            os.close(fd)
        self._closed = True

    def _look(self) -> tuple[int, int]:
        status = os.fstat(self._fd)
        return status.st_dev, status.st_ino
