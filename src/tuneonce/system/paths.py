"""Directories: those that belong to one user, and what this user may do."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

NAME = "tuneonce"

_TEMPORARY = ("/tmp", "/var/tmp")


def nearest(path: Path) -> Path:
    """The path, or the nearest above it that is there and may be looked at."""
    for one in (path, *path.parents):
        try:
            one.stat()
        except OSError:
            continue
        return one
    return Path("/")


def may_write(path: Path) -> bool:
    """Whether this user may write to a directory, or make it. A guess: only writing knows."""
    there = nearest(path)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


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


def user_caches(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_CACHE_HOME``, else ``.cache/`` of the home; None where nothing says where that is.

    The home is ``$HOME`` or, without it, that of the user's entry in the system's list of users.
    """
    configured = environ.get("XDG_CACHE_HOME", "").strip()
    if os.path.isabs(configured):
        return Path(configured)
    given = environ.get("HOME", "").strip()
    home = given if os.path.isabs(given) else _entered_home()
    return None if home is None else Path(home, ".cache")


def user_directory(environ: Mapping[str, str]) -> Path | None:
    """Where tuneonce keeps what this user has set no other place for. Never an error.

    ``tuneonce/`` in `user_caches`. Where that neither is there nor can be made, as for a user id
    that the system's list of users lacks and whose home is ``/``, it is in the directory for
    temporary files. None if it cannot be there either, or another user has taken its name.
    """
    caches = user_caches(environ)
    if caches is not None:
        usual = caches / NAME
        if may_be(usual) or os.path.isabs(environ.get("XDG_CACHE_HOME", "").strip()):
            return usual
    for place in (environ.get("TMPDIR", "").strip(), *_TEMPORARY):
        mine = Path(place, f"{NAME}-{os.getuid()}")
        if os.path.isabs(place) and may_be(mine) and _is_free_or_mine(mine):
            return mine / "cache"
    return None


def _entered_home() -> str | None:
    """The home in the system's list of users."""
    try:
        import pwd

        home = pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError, OSError):
        return None
    return home if os.path.isabs(home) else None


def may_be(path: Path) -> bool:
    """Whether a directory is there to be read, or may be made."""
    place = str(path)
    if os.path.isdir(place):
        return os.access(place, os.X_OK)
    while not os.path.lexists(place) and place != "/":
        place = os.path.dirname(place)
    return os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)


def _is_free_or_mine(path: Path) -> bool:
    """Whether a name is free or has a directory that only this user may write to.

    In a directory that every user may write to, another one may have taken the name first.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not others
