"""Directories that belong to one user."""

from __future__ import annotations

import stat
from pathlib import Path


def make_private_directory(path: Path) -> None:
    """Create `path` and what is missing above it, every new directory 0700 whatever the umask.

    Raises OSError. Directories that exist are left as they are: people mount them.
    """
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            if not directory.is_dir():
                raise
            continue  # made by another process meanwhile
        if stat.S_IMODE(directory.stat().st_mode) != 0o700:  # the umask takes from the owner too
            directory.chmod(0o700)
