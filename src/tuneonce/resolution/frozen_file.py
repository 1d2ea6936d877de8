"""Reads the file of a frozen set of winners, within bounds of bytes and seconds."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import SettingsError
from ..model.frozen import BadFrozen, FrozenSet, read_document
from ..system.threads import BoundedCalls, Overdue

# Arbitrary: a winner takes some 400 bytes, so that these are about 40,000.
MAX_BYTES = 16 << 20
# A mount that is gone may never answer. Arbitrary: reading so much of a far one takes less.
READ_S = 10.0


def read_frozen(path: Path, *, read_s: float = READ_S) -> FrozenSet:
    """The frozen set of winners in a file, which may be a link. Raises `SettingsError`."""
    try:
        return read_document(BoundedCalls()(lambda: _bytes_of(path), read_s))
    except BadFrozen as error:
        why = str(error)
    except Overdue:
        why = f"it was not read within {read_s:g} s"
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:  # a NUL in its name
        why = str(error)
    raise SettingsError(f"the frozen winners in {path} cannot be used: {why}")


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
