"""The compile slots of a node: as many as cores, shared by the processes of a user.

Loaded by the compile helper by path; imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import random
import signal
from pathlib import Path

# A slot that is not free after so long belongs to a process that was stopped, or to too many.
_SLOT_S = 60.0


@contextlib.contextmanager
def slot(directory, kind, count, *, wait=True):
    """One of the node's compile slots of this kind, of which there are as many as cores.

    Says whether there is one, which it always is for who waits. A child that is forked inside has
    it too, until it ends.
    """
    file, got = None, True
    if directory is not None:
        with contextlib.suppress(OSError):
            # A directory that cannot be used shares nothing, and stops nobody.
            file = taken_slot(directory, kind, count, wait=wait)
            got = file is not None
    try:
        yield got
    finally:
        if file is not None:
            file.close()


def taken_slot(directory, kind, count, *, wait=True):
    """Any slot that is free; else None, or one of them as soon as it is, but not for ever."""
    import fcntl

    order = random.sample(range(count), count)
    for number in order:
        file = Path(directory, f"{kind}-{number}.lock").open("ab")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError as error:
            file.close()
            if not isinstance(error, BlockingIOError):
                raise

    if not wait:
        return None

    def enough(*_):
        raise TimeoutError

    file = Path(directory, f"{kind}-{order[0]}.lock").open("ab")  # noqa: SIM115
    signal.signal(signal.SIGALRM, enough)
    signal.setitimer(signal.ITIMER_REAL, _SLOT_S)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        file.close()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return file
