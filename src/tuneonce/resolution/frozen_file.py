"""Reads the file of a frozen set of winners, within bounds of bytes and seconds."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

from ..errors import SettingsError
from ..model.frozen import BadFrozen, FrozenSet, read_document
from ..system.greenlets import patched_by

# Arbitrary: a winner takes some 300 bytes, so that these are about 50,000.
MAX_BYTES = 16 << 20
# A mount that is gone may never answer. Arbitrary: reading so much of a far one takes less.
READ_S = 10.0


def read_frozen(path: Path, *, read_s: float = READ_S) -> FrozenSet:
    """The frozen set of winners in a file, which may be a link. Raises `SettingsError`."""
    try:
        return read_document(_bytes_within(path, read_s))
    except BadFrozen as error:
        why = str(error)
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:  # a NUL in its name
        why = str(error)
    raise SettingsError(f"the frozen winners in {path} cannot be used: {why}")


def _bytes_within(path: Path, seconds: float) -> bytes:
    """What is in the file. Raises as `_bytes_of`, and `BadFrozen` after so many seconds."""
    read: list[bytes | BaseException] = []

    def work() -> None:
        try:
            read.append(_bytes_of(path))
        except BaseException as error:
            read.append(error)

    # It has ended when this returns: a process that is just beginning may fork at any time, and
    # Python warns of threads then. `system.threads` keeps its own for a while.
    thread = threading.Thread(target=work, name="tuneonce-frozen", daemon=True)
    try:
        if patched_by() is not None:
            raise RuntimeError("threads that do not run while this one waits")
        thread.start()
    except RuntimeError:
        return _bytes_of(path)
    thread.join(seconds)
    if not read:
        raise BadFrozen(f"it was not read within {seconds:g} s")
    [found] = read
    if isinstance(found, BaseException):
        raise found
    return found


def _bytes_of(path: Path) -> bytes:
    def at_once(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # and not when somebody writes into a pipe

    with open(path, "rb", opener=at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BadFrozen("it is not a regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BadFrozen(f"it has more than {MAX_BYTES:,} bytes")
    return data
