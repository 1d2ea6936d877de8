"""Directories that belong to one user."""

from __future__ import annotations

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
        directory.mkdir(mode=0o700, exist_ok=True)
