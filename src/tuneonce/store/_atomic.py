"""Whole files or nothing: the system calls under the directory store.

Everything here raises OSError and works inside of open folders (`_below`), with names that have no
slash: nothing is followed, whatever happens to the names above. A file is written under a temporary
name in its own folder and then given its real name in one step, so a reader needs no lock and a
process that is killed leaves at most a temporary file, which a later writer removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

from ..system.file_modes import Modes, settle

T = TypeVar("T")

MARK = ".new-"

# The names that are made here. Only these are ever removed for their age.
_LEFT = re.compile(r"\.tmp-[0-9]+-[0-9a-f]{16}|\.new-[A-Za-z0-9_=~+@-][A-Za-z0-9_.=~+@-]*")
_KEPT = re.compile(r"[0-9]{19}-[0-9a-f]{8}-[A-Za-z0-9_.=~+@-]+")

MAX_LOOKED_AT = 10_000
"""How many entries of a folder are looked at where not all of them matter. Arbitrary."""

TEMP_AGE_S = 3600.0
"""A temporary file this old was left by a killed process. A put takes milliseconds; arbitrary."""

MARK_AGE_S = 10.0
"""A mark (see ``publish_new``) this old was left by a process that was killed. Arbitrary."""

# NFS and overlay file systems answer with these now and then while another client renames; the
# same call works a moment later. In all about an eighth of a second; arbitrary.
_PASSING = frozenset({errno.ESTALE, errno.EBUSY})
_PAUSES_S = (0.001, 0.004, 0.020, 0.100)

# What os.link says where there are no hard links: FAT, some FUSE and network file systems.
_NO_LINKS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK})

# What opening or syncing a folder says where folders cannot be synced, or not by us. Nothing more
# can be done for durability there, and the record itself is complete.
_NO_FOLDER_SYNC = frozenset(
    {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF}
)


def patiently(call: Callable[[], T]) -> T:
    """``call()``, repeated a few times while the file system says that it should be."""
    for pause in _PAUSES_S:
        try:
            return call()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        time.sleep(pause)
    return call()


class Temp(NamedTuple):
    """A complete file in the folder ``at`` that has no real name yet."""

    at: int
    name: str
    status: os.stat_result


def temp_name() -> str:
    """A file name that no other process, thread or host has or will have."""
    return f".tmp-{os.getpid()}-{os.urandom(8).hex()}"


def is_left(name: str) -> bool:
    """Whether a name is one of those that are here for a moment, or were left by a kill."""
    return _LEFT.fullmatch(name) is not None


def kept_name(name: str) -> str:
    """A name for a record that is set aside, new and in the order of time."""
    return f"{time.time_ns():019d}-{os.urandom(4).hex()}-{name[:100]}"


def kept_at(name: str) -> float | None:
    """When a record of such a name was set aside, in seconds since 1970; None for another name."""
    return None if _KEPT.fullmatch(name) is None else int(name[:19]) / 1e9


def write_temp(at: int, data: bytes, modes: Modes, *, durable: bool) -> Temp:
    """Write ``data`` to a new file. FileNotFoundError if the folder was removed."""
    name = temp_name()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = patiently(lambda: os.open(name, flags, modes.file, dir_fd=at))
    try:
        try:
            status = os.fstat(fd)
            settle(fd, status, modes, modes.file)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)  # NFS reports a failed write here
    except BaseException:
        discard(at, name)
        raise
    return Temp(at, name, status)


def discard(at: int, name: str) -> None:
    """Remove a temporary file if it is there. A failure costs space for an hour, nothing else."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=at)


def exists(at: int, name: str) -> bool:
    """Whether something has the name, a link too. Raises OSError if that cannot be told."""
    try:
        os.lstat(name, dir_fd=at)
    except FileNotFoundError:
        return False
    return True


def publish(temp: Temp, at: int, name: str) -> None:
    """Give ``temp`` its name, replacing what has it."""
    try:
        patiently(lambda: os.replace(temp.name, name, src_dir_fd=temp.at, dst_dir_fd=at))
    except FileNotFoundError:
        # An NFS client that lost the answer asks again, and is told that the file has gone.
        if not _is_at(temp, at, name):
            raise


def publish_new(temp: Temp, at: int, name: str) -> bool:
    """Give ``temp`` its name unless it is taken. True if it is ours.

    Atomic among processes and hosts where hard links work. Elsewhere a mark beside the name is
    created exclusively, which excludes all other processes for the moment of a rename. There, if
    a process is killed or stopped for longer than ``MARK_AGE_S`` at just that moment, two others
    may both be told True; readers still see one whole record, the last.
    """
    folders = {"src_dir_fd": temp.at, "dst_dir_fd": at}
    try:
        patiently(lambda: os.link(temp.name, name, **folders, follow_symlinks=False))
    except FileExistsError:
        return _is_at(temp, at, name)  # a lost answer again: it may be ours
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _publish_marked(temp, at, name)
    return True


def _publish_marked(temp: Temp, at: int, name: str) -> bool:
    mark = f"{MARK}{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(200):  # about two seconds; a holder needs far less than a millisecond
        if exists(at, name):
            return False
        try:
            os.close(os.open(mark, flags, 0o600, dir_fd=at))
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                # Both times come from the file system's own clock.
                age = temp.status.st_ctime - os.lstat(mark, dir_fd=at).st_ctime
                if age > MARK_AGE_S:
                    os.unlink(mark, dir_fd=at)
                    continue
            time.sleep(0.01)
            continue
        try:
            if exists(at, name):
                return False
            publish(temp, at, name)
            return True
        finally:
            discard(at, mark)
    raise OSError(errno.EBUSY, "another process is writing this name and does not finish", name)


def _is_at(temp: Temp, at: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(temp.status, os.lstat(name, dir_fd=at))
    return False


def take(at: int, name: str, to: int, away: str) -> bool:
    """Move what has the name to the unused name ``away`` in ``to``.

    True for one of all that try.
    """
    try:
        patiently(lambda: os.rename(name, away, src_dir_fd=at, dst_dir_fd=to))
    except FileNotFoundError:
        # No other process uses the new name: if it is taken, an NFS server's answer was lost.
        return exists(to, away)
    return True


def give_back(to: int, away: str, at: int, name: str) -> None:
    """Undo ``take``, unless the name has been taken again: then the newer record stays."""
    publish_new(Temp(to, away, os.lstat(away, dir_fd=to)), at, name)
    discard(to, away)


def sync_folder(path: str, at: int | None = None) -> None:
    """Make the names in a folder durable, as far as folders can be synced there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        pass  # deleted since: so is the record
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def sweep(at: int, entries: Iterator[os.DirEntry[str]], now: float) -> None:
    """Remove what killed processes left in a folder. ``now`` is the file system's own time.

    The time of the last change of the inode counts, not of its content: moving an old record to a
    temporary name makes that name new.
    """
    for entry in islice(entries, MAX_LOOKED_AT):
        if is_left(entry.name):
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and now - status.st_ctime > TEMP_AGE_S:
                    os.unlink(entry.name, dir_fd=at)


def drop_oldest(at: int, entries: Iterator[os.DirEntry[str]], keep: int) -> None:
    """Of the files that were set aside, remove all but the newest ``keep``.

    What stood in a record's place may be a folder with a user's files. It stays.
    """
    ours = sorted(
        entry.name
        for entry in islice(entries, MAX_LOOKED_AT)
        if _KEPT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
    )
    for name in ours[: max(0, len(ours) - keep)]:
        discard(at, name)
