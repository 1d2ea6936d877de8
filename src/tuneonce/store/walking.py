"""What lies below a store's directory, file by file, without reading any: for sizes and upkeep.

Beside records there are files of the store's own, which have no record's name: temporary ones, what
was set aside, journals. All of them are seen here. No link is followed (`_below`), and one folder
is in memory at a time. A folder that goes meanwhile is left out.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from . import _atomic, _below
from .base import MAX_NAME_PARTS
from .files import SET_ASIDE


class File(NamedTuple):
    """One entry of a folder that is no folder itself.

    Times are those of the file system, in seconds since 1970: when its content was written, and
    when anything about it was changed, its name included. `owner` is a user's id. What is not
    `regular` (a link, a pipe) is nobody's record and is never touched.
    """

    name: str
    bytes: int
    written_at: float
    changed_at: float
    owner: int
    regular: bool
    inode: int


class Folder(NamedTuple):
    """`name` is below the root, ``""`` for itself. One that is `closed` to this user shows nothing.

    `empty`: there is neither a file nor a folder in it.
    """

    name: str
    files: list[File]
    empty: bool = False
    closed: bool = False
    changed_at: float = 0.0


def walk(root: str, below: str = "") -> Iterator[Folder]:
    """`below` and every folder in it, in no particular order.

    Raises OSError if the root itself cannot be listed.
    """
    waiting = [below]
    while waiting:
        name = waiting.pop()
        found, folders = look(root, name)
        if found is None:
            continue
        if name.count("/") < MAX_NAME_PARTS:
            waiting += [f"{name}/{one}" if name else one for one in folders]
        yield found


def look(root: str, name: str) -> tuple[Folder | None, list[str]]:
    """One folder, and the names of those in it. None: it is not there, or is a link.

    Raises OSError if it is the root, and cannot be listed.
    """
    try:
        files, folders = [], []
        with _below.opened(root, name) as at, _below.entries_of(at) as entries:
            changed = os.fstat(at).st_mtime
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    files.append(_file(entry.name, entry.stat(follow_symlinks=False)))
        return Folder(name, files, not files and not folders, False, changed), folders
    except (FileNotFoundError, NotADirectoryError):
        if not name:
            raise
        return None, []
    except OSError:
        if not name:
            raise
        return Folder(name, [], closed=True), []


def _file(name: str, status: os.stat_result) -> File:
    return File(
        name,
        status.st_size,
        status.st_mtime,
        status.st_ctime,
        status.st_uid,
        stat.S_ISREG(status.st_mode),
        status.st_ino,
    )


def is_still(root: str, folder: str, file: File) -> bool:
    """Whether a name has the file that was seen, and nothing was written to it since."""
    try:
        with _below.opened(root, folder) as at:
            now = _file(file.name, os.lstat(file.name, dir_fd=at))
    except OSError:
        return False
    return now == file


# -- what is left over ---------------------------------------------------------------------------


def is_temporary(name: str) -> bool:
    """Whether it is a file that a put, or a removal, has for a moment."""
    return _atomic.is_left(name)


def is_abandoned(file: File, now: float) -> bool:
    """Whether the writer of a temporary file was killed: a put takes milliseconds."""
    return is_temporary(file.name) and now - file.changed_at > _atomic.TEMP_AGE_S


def set_aside_at(name: str) -> float | None:
    """When what has this name was set aside; None: it is not of those that are."""
    return _atomic.kept_at(name)


def is_set_aside(folder: str) -> bool:
    """Whether it is the folder of what could not be used."""
    return folder == SET_ASIDE


def discard(root: str, folder: str, file: File) -> bool:
    """Remove a file that is no record. False: it is another one now, has gone, or may not go."""
    if not file.regular or not is_still(root, folder, file):
        return False
    try:
        with _below.opened(root, folder) as at:
            os.unlink(file.name, dir_fd=at)
    except OSError:
        return False
    return True


def prune(root: str, folder: str) -> int:
    """Remove a folder and those above it that are empty; how many. The root stays.

    A writer that has just made one finds that it has gone, and makes it again.
    """
    removed = 0
    while folder:
        above, _, last = folder.rpartition("/")
        try:
            with _below.opened(root, above) as at:
                os.rmdir(last, dir_fd=at)
        except OSError:  # most often it is not empty
            break
        removed, folder = removed + 1, above
    return removed


def clock(root: str) -> float:
    """The time as the file system has it, in seconds since 1970: on a mount, another machine's.

    Raises OSError where nothing may be written.
    """
    at = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = _atomic.temp_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=at)
        try:
            return os.fstat(file).st_mtime
        finally:
            os.close(file)
            _atomic.discard(at, name)
    finally:
        os.close(at)
