"""Folders below a root, reached without following a link.

Every part is opened by itself, in the folder above it, and must be a folder. If one is replaced by
a link at any moment, the caller gets an error, and nothing is read or written through the link.
The root itself may lie behind links: its path was given by the user.

A descriptor from here is of use as a ``dir_fd`` only (O_PATH), so that a folder that may be
searched and not listed is no obstacle. All raise OSError; a link in a folder's place is
NotADirectoryError, as a file is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ..system.file_modes import Modes, make_directory, missing, modes_in, settle_folder
from ._atomic import patiently, sync_folder

_ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = _ROOT | os.O_NOFOLLOW


def _down(at: int, part: str) -> int:
    try:
        return os.open(part, _BELOW, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):  # what some systems call a link here
            raise NotADirectoryError(errno.ENOTDIR, "a link", part) from error
        raise


def open_folder(root: str, folder: str) -> int:
    """The folder ``root``/``folder``, which the caller closes; ``""`` is the root."""
    at = os.open(root, _ROOT)
    for part in folder.split("/") if folder else ():
        try:
            below = _down(at, part)
        finally:
            os.close(at)
        at = below
    return at


@contextlib.contextmanager
def opened(root: str, folder: str) -> Iterator[int]:
    """``open_folder``, closed at the end."""
    at = patiently(lambda: open_folder(root, folder))
    try:
        yield at
    finally:
        os.close(at)


@contextlib.contextmanager
def entries(root: str, folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What is in a folder. What an entry says of itself must be asked for in here."""
    with opened(root, folder) as at, entries_of(at) as found:
        yield found


@contextlib.contextmanager
def entries_of(at: int) -> Iterator[Iterator[os.DirEntry[str]]]:
    """``entries`` of a folder that is open."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    try:
        with os.scandir(fd) as found:
            yield found
    finally:
        os.close(fd)


@contextlib.contextmanager
def found(root: str, name: str) -> Iterator[tuple[int, str]]:
    """The folder and the entry in it that is in the way of ``name``, or has it.

    FileNotFoundError if even a folder is missing; the entry itself need not be there.
    """
    *folders, last = name.split("/")
    at = os.open(root, _ROOT)
    try:
        for part in folders:
            try:
                below = _down(at, part)
            except NotADirectoryError:
                last = part
                break
            os.close(at)
            at = below
        yield at, last
    finally:
        os.close(at)


class Made(NamedTuple):
    """A folder that is there now: open, and whether this call has made it.

    `modes` are those of what is made in this store.
    """

    at: int
    modes: Modes
    new: bool


@contextlib.contextmanager
def made(root: str, folder: str, *, bake: bool) -> Iterator[Made]:
    """``opened``, making what is missing below the root (`system.file_modes`).

    FileNotFoundError if the root is missing, or a folder that was just there. New folders are made
    durable by ``sync_folders``.
    """
    found = patiently(lambda: _open_or_make_all(root, folder, bake=bake))
    try:
        yield found
    finally:
        os.close(found.at)


def _open_or_make_all(root: str, folder: str, *, bake: bool) -> Made:
    at, new = os.open(root, _ROOT), False
    try:
        modes = modes_in(os.fstat(at), bake=bake)
        for part in folder.split("/") if folder else ():
            below, new = _open_or_make(at, part, modes)
            os.close(at)
            at = below
    except BaseException:
        os.close(at)
        raise
    return Made(at, modes, new)


def make_root(root: str, *, bake: bool) -> None:
    """Create the root and what is missing above it, durable at once."""
    for path in missing(root):
        try:
            patiently(lambda path=path: make_directory(path, bake=bake))  # type: ignore[misc]
        except FileExistsError:
            continue  # by another process, or something else: the next call will tell
        if path != root:
            sync_folder(os.path.dirname(path))


def _open_or_make(at: int, part: str, modes: Modes) -> tuple[int, bool]:
    """A folder, and whether this call has made it."""
    try:
        return _down(at, part), False
    except FileNotFoundError:
        try:
            os.mkdir(part, modes.folder & 0o777, dir_fd=at)
            new = True
        except FileExistsError:  # by another process
            new = False
    below = _down(at, part)
    try:
        settle_folder(below, modes, made=new)
    except BaseException:
        os.close(below)
        raise
    return below, new


def let_all_read(root: str, folder: str) -> None:
    """Let every user read ``folder`` and those above it up to the root, as far as they are ours.

    Not where other users may write: one of these could put a folder in this one's place.
    """
    at = os.open(root, _ROOT)
    try:
        if os.fstat(at).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return
        for part in ["", *folder.split("/")] if folder else [""]:
            if part:
                below = _down(at, part)
                os.close(at)
                at = below
            status = os.fstat(at)
            if status.st_uid == os.geteuid() and status.st_mode & 0o055 != 0o055:
                with contextlib.suppress(PermissionError, FileNotFoundError):
                    os.chmod(f"/proc/self/fd/{at}", stat.S_IMODE(status.st_mode) | 0o055)
    finally:
        os.close(at)


def sync_folders(root: str, folder: str) -> None:
    """Make names durable: fsync ``folder``, every folder above it up to the root, and its parent.

    All of them every time, because another process may have created one a moment ago without
    syncing it.
    """
    held: list[int] = []
    try:
        held.append(os.open(root, _ROOT))
        for part in folder.split("/") if folder else ():
            held.append(_down(held[-1], part))
        for at in reversed(held):
            sync_folder(".", at)
        sync_folder(os.path.dirname(root))
    except FileNotFoundError:
        pass  # deleted since: so is the record
    finally:
        for at in held:
            os.close(at)
