"""Compiled binaries that are kept beside a store: where, how much, and removing them.

They are this user's own, in a directory that nobody else may enter; others' are not looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec


class KeptFiles(msgspec.Struct, frozen=True):
    """One directory of them. `bytes` is how much they take."""

    directory: str
    files: int
    bytes: int


def kept_files(places: Iterable[Path]) -> list[KeptFiles]:
    """What is kept in these directories, as far as they are there and this user's."""
    found = []
    for place in places:
        sizes = [size for _, size in _files(place)]
        if sizes:
            found.append(KeptFiles(str(place), len(sizes), sum(sizes)))
    return found


def remove_kept(kept: Iterable[KeptFiles]) -> int:
    """Remove what is kept there now; how many files. What cannot be removed is left."""
    removed = 0
    for one in kept:
        for path, _ in _files(Path(one.directory)):
            try:
                path.unlink()
                removed += 1
            except OSError:
                continue
    return removed


def _files(place: Path) -> list[tuple[Path, int]]:
    try:
        about = place.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            return []
        held = [(path, path.lstat()) for path in sorted(place.iterdir())]
    except OSError:
        return []
    ours = [(path, a) for path, a in held if path.suffix == ".zip" or path.name[:7] == ".draft-"]
    return [(path, a.st_size) for path, a in ours if stat.S_ISREG(a.st_mode)]
