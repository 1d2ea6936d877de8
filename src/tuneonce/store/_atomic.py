"""Whole files or nothing: the system calls under the directory store.

Everything here raises OSError and knows paths, not names. A file is written under a temporary name
in its own folder and then given its real name in one step, so a reader needs no lock and a process
that is killed leaves at most a temporary file, which a later writer removes.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")

TEMP = ".tmp-"
MARK = ".new-"

TEMP_AGE_S = 3600.0
"""A temporary file this old belongs to nobody any more. A put takes milliseconds; arbitrary."""

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
    """A complete file that has no real name yet."""

    path: str
    status: os.stat_result


def temp_name() -> str:
    """A file name that no other process, thread or host has or will have."""
    return f"{TEMP}{os.getpid()}-{os.urandom(8).hex()}"


def write_temp(folder: str, data: bytes, *, durable: bool) -> Temp:
    """Write ``data`` to a new private file. FileNotFoundError if the folder is missing."""
    path = f"{folder}/{temp_name()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = patiently(lambda: os.open(path, flags, 0o600))
    try:
        try:
            status = os.fstat(fd)
            if stat.S_IMODE(status.st_mode) != 0o600:  # an unusual umask, or no modes here at all
                with contextlib.suppress(PermissionError):
                    os.fchmod(fd, 0o600)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)  # NFS reports a failed write here
    except BaseException:
        discard(path)
        raise
    return Temp(path, status)


def discard(path: str) -> None:
    """Remove a temporary file if it is there. A failure costs space for an hour, nothing else."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def publish(temp: Temp, path: str) -> None:
    """Give ``temp`` its name, replacing what has it."""
    try:
        patiently(lambda: os.replace(temp.path, path))
    except FileNotFoundError:
        # An NFS client that lost the answer asks again, and is told that the file has gone.
        if not _is_at(temp, path):
            raise


def publish_new(temp: Temp, path: str) -> bool:
    """Give ``temp`` its name unless it is taken. True if it is ours.

    Atomic among processes and hosts where hard links work. Elsewhere a mark beside the name is
    created exclusively, which excludes everybody else for the moment of a rename. There, if a
    process is killed or stopped for longer than ``MARK_AGE_S`` at just that moment, two others may
    both be told True; readers still see one whole record, the last.
    """
    try:
        patiently(lambda: os.link(temp.path, path, follow_symlinks=False))
    except FileExistsError:
        return _is_at(temp, path)  # a lost answer again: it may be ours
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _publish_marked(temp, path)
    return True


def _publish_marked(temp: Temp, path: str) -> bool:
    folder, _, last = path.rpartition("/")
    mark = f"{folder}/{MARK}{last}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(200):  # about two seconds; a holder needs far less than a millisecond
        if os.path.lexists(path):
            return False
        try:
            os.close(os.open(mark, flags, 0o600))
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                # Both times come from the file system's own clock.
                if temp.status.st_ctime - os.lstat(mark).st_ctime > MARK_AGE_S:
                    os.unlink(mark)
                    continue
            time.sleep(0.01)
            continue
        try:
            if os.path.lexists(path):
                return False
            publish(temp, path)
            return True
        finally:
            discard(mark)
    raise OSError(errno.EBUSY, "another process is writing this name and does not finish", path)


def _is_at(temp: Temp, path: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(temp.status, os.lstat(path))
    return False


def take(path: str, to: str) -> bool:
    """Move what is at ``path`` to the unused name ``to``. True for one of all that try."""
    try:
        patiently(lambda: os.rename(path, to))
    except FileNotFoundError:
        return os.path.lexists(to)  # nobody else uses that name, so a lost answer
    return True


def give_back(path: str, to: str) -> None:
    """Undo ``take``, unless the name has been taken again: then the newer record stays."""
    publish_new(Temp(path, os.lstat(path)), to)
    discard(path)


def make_folders(folder: str, top: str) -> None:
    """Create ``folder`` and what is missing above it, each 0700 whatever the umask.

    New folders above ``top`` are made durable at once; for those below see ``sync_folders``.
    """
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    for path in reversed(missing):
        try:
            patiently(functools.partial(os.mkdir, path, 0o700))
        except FileExistsError:
            continue  # by another process, or something else: the next call will tell
        if stat.S_IMODE(os.stat(path).st_mode) != 0o700:
            with contextlib.suppress(PermissionError):
                os.chmod(path, 0o700)
        if len(path) < len(top):
            _sync_folder(os.path.dirname(path))


def sync_folders(folder: str, top: str) -> None:
    """Make names durable: fsync ``folder``, every folder above it up to ``top``, and its parent.

    All of them every time, because another process may have created one a moment ago without
    syncing it.
    """
    while True:
        _sync_folder(folder)
        if len(folder) < len(top):
            return
        folder = os.path.dirname(folder)


def _sync_folder(folder: str) -> None:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        pass  # deleted since: so is the record
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def sweep(folder: str, now: float) -> None:
    """Remove what killed processes left in ``folder``. ``now`` is the file system's own time.

    The time of the last change of the inode counts, not of its content: moving an old record to a
    temporary name makes that name new.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((TEMP, MARK)):
                with contextlib.suppress(OSError):
                    if now - entry.stat(follow_symlinks=False).st_ctime > TEMP_AGE_S:
                        os.unlink(entry.path)
