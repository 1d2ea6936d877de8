"""What the compile helpers of a user share on a node: slots, as many as cores, and who does what.

Loaded by the compile helper by path; imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import stat
from pathlib import Path

# A slot that is not free after so long belongs to a process that was stopped, or to too many.
_SLOT_S = 60.0
# Neither follow a link nor wait for a pipe's other end.
_TRIES = 8  # Arbitrary.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextlib.contextmanager
def slot(directory, kind, count, *, wait=True, beside=None):
    """One of the node's compile slots of this kind, of which there are as many as cores.

    Yields whether there is one; with `wait` there always is. A child that is forked inside has
    it too, until it ends. With another kind, `beside`, only one whose number is free there as well,
    so that there are no more of both together when it is taken.
    """
    fd, got = None, True
    if directory is not None:
        with contextlib.suppress(OSError):
            # A directory that cannot be used shares nothing, and stops no compilation.
            fd = taken_slot(directory, kind, count, wait=wait, beside=beside)
            got = fd is not None
    try:
        yield got
    finally:
        if fd is not None:
            os.close(fd)


def taken_slot(directory, kind, count, *, wait=True, beside=None):
    """The descriptor of any slot that is free; else None, or one as soon as it is free.

    Not for ever: raises TimeoutError, as all that goes wrong is an OSError.
    """
    import fcntl

    order = random.sample(range(count), count)
    for number in order:
        fd = _free(directory, kind, number)
        if fd is not None and beside is not None:
            other = _free(directory, beside, number)
            os.close(fd if other is None else other)
            fd = None if other is None else fd
        if fd is not None:
            return fd

    if not wait:
        return None

    def enough(*_):
        raise TimeoutError

    fd = _open(directory, kind, order[0])
    signal.signal(signal.SIGALRM, enough)
    signal.setitimer(signal.ITIMER_REAL, _SLOT_S)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:
        os.close(fd)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return fd


def _free(directory, kind, number):
    """The descriptor of a slot, if it is free. Raises OSError."""
    import fcntl

    fd = _open(directory, kind, number)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if not isinstance(error, BlockingIOError):
            raise
        return None
    return fd


def _open(directory, kind, number):
    """Raises OSError for what is no file, too."""
    fd = os.open(Path(directory, f"{kind}-{number}.lock"), _FLAGS, 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("a slot is no file")
    return fd


TAKEN = -1
"""Another helper of the node compiles it."""


def claim(directory, name):
    """The descriptor of the claim of this name; `TAKEN`; None where it cannot be had.

    A child that is forked has it too. It ends with the last that has it, however that ends.
    """
    import fcntl

    path = Path(directory, f"{name}.claim")
    for _ in range(_TRIES):
        try:
            fd = os.open(path, _FLAGS, 0o600)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                return None
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it may have removed the name since it was opened.
            if os.path.samestat(path.lstat(), os.fstat(fd)):
                return fd
        except BlockingIOError:
            os.close(fd)
            return TAKEN
        except OSError:
            pass
        os.close(fd)
    return None


def end_claim(directory, name):
    """Before a claim is closed by whoever has it."""
    with contextlib.suppress(OSError):
        Path(directory, f"{name}.claim").unlink()
