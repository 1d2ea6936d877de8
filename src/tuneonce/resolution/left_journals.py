"""Journals as files: which there are, what they take, and removing those of tunings that are over.

A journal that a process writes to is locked (`resolution.journal`). Locks are asked for only where
one is to be removed: who tries a lock has it for a moment, and a tuning that begins just then would
go without a journal. Everything else goes by when a journal was written last, as it also must for
one of another host.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..system.descriptors import Descriptor
from .journal import head_of, lock, names_in


class LeftJournal(NamedTuple):
    """`below` is its key's folder in the store, ``""`` where that cannot be read.

    `written_at` is in seconds since 1970, `owner` a user's id.
    """

    path: Path
    below: str
    bytes: int
    written_at: float
    owner: int


def journals_in(directories: Iterable[Path]) -> Iterator[LeftJournal]:
    """Every journal, also those that are in use. Raises nothing."""
    for directory in dict.fromkeys(directories):
        for name in names_in(directory):
            path = directory / name
            with contextlib.suppress(OSError):
                about = path.lstat()
                below = head_of(path).get("below")
                text = below if isinstance(below, str) else ""
                yield LeftJournal(path, text, about.st_size, about.st_mtime, about.st_uid)


class HeldJournal(NamedTuple):
    """A journal that no other process can write to, and its open folder."""

    journal: LeftJournal
    folder: Descriptor

    def remove(self) -> int:
        """Remove it; how many bytes it took. Raises nothing."""
        try:
            os.unlink(self.journal.path.name, dir_fd=self.folder.fileno())
        except OSError:
            return 0
        return self.journal.bytes


@contextlib.contextmanager
def held(journals: Iterable[LeftJournal]) -> Iterator[list[HeldJournal] | None]:
    """Those that are still there, locked meanwhile.

    None if a process writes to one of them, or one is another user's.
    """
    with contextlib.ExitStack() as opened:
        yield _held(opened, journals)


def _held(
    opened: contextlib.ExitStack, journals: Iterable[LeftJournal]
) -> list[HeldJournal] | None:
    found = []
    for journal in journals:
        try:
            folder, _ = lock(opened, journal.path.parent, journal.path.name)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        found.append(HeldJournal(journal, folder))
    return found
