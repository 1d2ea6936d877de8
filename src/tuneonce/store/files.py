"""Records as files of one directory, which may be shared over a network.

    <root>/<kernel>/<world>/<key>/<record>      0600, in folders that are 0700
    <root>/<kernel>/.../.tmp-<pid>-<random>     being written; swept after an hour
    <root>/.set-aside/<time>-<random>-<record>  could not be used; the newest 64 are kept

Nothing is touched before the first put, and no descriptor, lock or thread is held between calls,
so a store may be used on both sides of a fork. A record's last path part and the temporary name
are in one folder, hence in one file system, so that names change in one step.

**Who is believed.** A record must be a regular file that belongs to this user, to root or to the
owner of the root directory. One directory is meant for one user (or for many readers and one
writer): folders that another user's process makes cannot be entered.

**What is not promised.** After a power failure a record put with ``durable=False`` may be missing,
empty or cut short. ``delete_if`` and ``set_aside(seen=...)`` rename the record away, look at it
again and put it back if it is another one than expected; meanwhile it seems absent, a
``put_if_absent`` that comes just then wins over it, and a process killed just then loses it. On a
network file system another host may see a change a moment later, as its caches decide. A dead NFS
server blocks the caller as long as the mount's own time limit says.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import urllib.parse
from collections.abc import Callable, Iterator

from ..errors import (
    RecordUnreadable,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    Unreadable,
)
from . import _atomic
from .base import (
    MAX_NAME_PARTS,
    MAX_RECORD_BYTES,
    MAX_SET_ASIDE,
    Store,
    StoreInfo,
    check_data,
    check_name,
    check_prefix,
)

SET_ASIDE = ".set-aside"

# Neither follow a link nor wait for a pipe's other end nor adopt a terminal.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LINK_OR_SOCKET = frozenset({errno.ELOOP, errno.EMLINK, errno.ENXIO})
_WRONG_KIND = frozenset({errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST})
_MAY_NOT_MOVE = _REFUSED | _FULL | {errno.EXDEV, errno.EBUSY, errno.ESTALE}

# A folder may be deleted between making it and writing into it. Somebody who does that three times
# in a row is not cleaning up.
_TRIES = 3


class FileStore(Store):
    """The directory ``root``, which need not exist yet. See the module for its guarantees."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.path.abspath(os.fspath(root)).rstrip("/")
        if not self._root:
            raise ValueError("the root of the file system is no place for a store")
        self._url = "file://" + urllib.parse.quote(os.fsencode(self._root))
        self._swept: set[str] = set()

    # -- reading -----------------------------------------------------------------------------

    def get(self, name: str) -> bytes | None:
        path = f"{self._root}/{check_name(name)}"
        try:
            return _atomic.patiently(lambda: self._read(path, name))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._not_read(error, path, name) from error

    def _read(self, path: str, name: str) -> bytes:
        fd = os.open(path, _READ)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise self._unreadable(name, Unreadable.NOT_A_FILE)
            if status.st_size > MAX_RECORD_BYTES:
                raise self._unreadable(name, Unreadable.TOO_LARGE, f"{status.st_size} bytes")
            if not self._is_trusted(status.st_uid):
                raise self._unreadable(name, Unreadable.OWNER, f"user {status.st_uid}")
            # One read gives all of a local file, because records never grow.
            data = os.read(fd, status.st_size)
            while len(data) < status.st_size:
                more = os.read(fd, status.st_size - len(data))
                if not more:
                    break
                data += more
            return data
        finally:
            os.close(fd)

    def _is_trusted(self, uid: int) -> bool:
        return uid in (os.geteuid(), 0) or uid == os.stat(self._root).st_uid

    def list(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        folder, _, start = prefix.rpartition("/")
        return self._walk(folder, start)

    def _walk(self, folder: str, start: str) -> Iterator[str]:
        below = f"{folder}/" if folder else ""
        try:
            # Read to its end before anything is handed out: a caller that stops half-way, or
            # forks, leaves no open folder behind.
            with os.scandir(f"{self._root}/{folder}") as entries:
                found = [
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if entry.name.startswith(start) and _is_part(entry.name)
                ]
        except FileNotFoundError:
            return
        except NotADirectoryError:
            if folder and os.path.isdir(self._root):
                return  # a record: nothing is below it
            raise self._unavailable(f"{self._root} is not a directory") from None
        except OSError as error:
            raise self._unavailable(f"{folder or '/'} cannot be listed: {_say(error)}") from error
        deeper = below.count("/") < MAX_NAME_PARTS - 1
        for name, is_folder in found:
            if not is_folder:
                yield below + name
            elif deeper and below + name != "lost+found":  # of a volume mounted as the root
                yield from self._walk(below + name, "")

    # -- writing -----------------------------------------------------------------------------

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        def replace(temp: _atomic.Temp, path: str) -> bool:
            _atomic.publish(temp, path)
            return True

        self._write(name, data, durable, replace)

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        # Most losers come late. They need not write anything to learn that they lost.
        if os.path.lexists(f"{self._root}/{check_name(name)}"):
            check_data(data)
            return False
        return self._write(name, data, durable, _atomic.publish_new)

    def _write(
        self, name: str, data: bytes, durable: bool, publish: Callable[[_atomic.Temp, str], bool]
    ) -> bool:
        path = f"{self._root}/{check_name(name)}"
        check_data(data)
        folder = path.rpartition("/")[0]
        try:
            for _ in range(_TRIES):
                try:
                    return self._write_into(folder, path, data, durable, publish)
                except FileNotFoundError:
                    _atomic.make_folders(folder, self._root)
            return self._write_into(folder, path, data, durable, publish)
        except OSError as error:
            raise self._not_written(error, name) from error

    def _write_into(
        self,
        folder: str,
        path: str,
        data: bytes,
        durable: bool,
        publish: Callable[[_atomic.Temp, str], bool],
    ) -> bool:
        temp = _atomic.write_temp(folder, data, durable=durable)
        try:
            self._sweep_once(folder, temp)
            ours = publish(temp, path)
        finally:
            _atomic.discard(temp.path)
        if ours and durable:
            _atomic.sync_folders(folder, self._root)
        return ours

    def _sweep_once(self, folder: str, temp: _atomic.Temp) -> None:
        if folder not in self._swept:
            if len(self._swept) > 10_000:  # a bound on memory, arbitrary; sweeping twice is fine
                self._swept.clear()
            self._swept.add(folder)
            _atomic.sweep(folder, temp.status.st_ctime)

    # -- taking away -------------------------------------------------------------------------

    def delete_if(self, name: str, expected: bytes) -> bool:
        if self.get(name) != expected:
            return False
        path = f"{self._root}/{name}"
        away = f"{path.rpartition('/')[0]}/{_atomic.temp_name()}"
        try:
            if not self._take_if(path, away, name, expected):
                return False
            os.unlink(away)
            return True
        except OSError as error:
            raise self._not_written(error, name) from error

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        path = f"{self._root}/{check_name(name)}"
        try:
            if seen is not None and self.get(name) != seen:
                return False
        except RecordUnreadable:
            return False  # something else by now; whoever meets it will say so without ``seen``
        aside = f"{self._root}/{SET_ASIDE}"
        kept = f"{time.time_ns():019d}-{os.urandom(4).hex()}-{name.rpartition('/')[2][:100]}"
        try:
            if not os.path.lexists(path):
                blocker = self._file_in_the_way(name)
                if blocker is None:
                    return False
                path = blocker
            _atomic.make_folders(aside, self._root)
            if seen is None:
                moved = _atomic.take(path, f"{aside}/{kept}")
            else:
                moved = self._take_if(path, f"{aside}/{kept}", name, seen)
            if moved:
                self._drop_oldest(aside)
            return moved
        except OSError as error:
            if error.errno in _MAY_NOT_MOVE:
                return False
            raise self._not_written(error, name) from error

    def _take_if(self, path: str, to: str, name: str, expected: bytes) -> bool:
        """Move the record if it is ``expected``, else leave it, or put it back, where it was."""
        if not _atomic.take(path, to):
            return False
        try:
            same = self._read(to, name) == expected
        except (OSError, RecordUnreadable):
            same = False
        if not same:
            _atomic.give_back(to, path)
        return same

    def _file_in_the_way(self, name: str) -> str | None:
        """The path of a file that stands where a folder of this name belongs."""
        path = self._root
        for part in name.split("/")[:-1]:
            path = f"{path}/{part}"
            if os.path.lexists(path) and not os.path.isdir(path):
                return path
        return None

    def _drop_oldest(self, aside: str) -> None:
        names = sorted(os.listdir(aside))
        for old in names[: max(0, len(names) - MAX_SET_ASIDE)]:
            path = f"{aside}/{old}"
            # What stood in a record's place may be a directory. One with something in it is not
            # ours to empty.
            remove = os.rmdir if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink
            try:
                remove(path)
            except OSError:
                continue

    # -- telling -----------------------------------------------------------------------------

    def describe(self) -> StoreInfo:
        path, notes = self._root, []
        try:
            status = os.stat(path)
        except FileNotFoundError:
            notes.append("does not exist yet, the first result makes it")
            while not os.path.lexists(path) and path != "/":
                path = os.path.dirname(path)
        except OSError as error:
            notes.append(_say(error))
        else:
            if not stat.S_ISDIR(status.st_mode):
                notes.append("is not a directory")
            elif status.st_mode & stat.S_IWOTH:
                notes.append("may be written by every user of this machine")
        writable = os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
        if not writable:
            notes.append(f"this process (user {os.geteuid()}) may not write to it")
        return StoreInfo(
            kind="files",
            url=self._url,
            writable=writable,
            location=self._root,
            note="; ".join(notes),
        )

    # -- the border: from the operating system's errors to ours --------------------------------

    def _not_read(self, error: OSError, path: str, name: str) -> StoreError:
        if error.errno in _LINK_OR_SOCKET:
            return self._unreadable(name, Unreadable.NOT_A_FILE)
        if error.errno == errno.ENOTDIR and os.path.isdir(self._root):
            return self._unreadable(name, Unreadable.NOT_A_FILE, "a file in a folder's place")
        if error.errno in (errno.EACCES, errno.EPERM) and os.path.lexists(path):
            return self._unreadable(name, Unreadable.PERMISSION)
        return self._unavailable(f"{name} cannot be read: {_say(error)}")

    def _not_written(self, error: OSError, name: str) -> StoreError:
        what = f"{name} cannot be written to {self._url}: {_say(error)}. "
        if error.errno in _FULL:
            return StoreFull(
                what + "Free some space or quota there, or set TUNEONCE_STORE to another place.",
                store=self._url,
            )
        if error.errno in _REFUSED:
            return StoreReadOnly(
                what + f"Let user {os.geteuid()} write there or set TUNEONCE_STORE to another "
                "place; if reading is all it is for, add ?readonly=1 to its file:// address.",
                store=self._url,
            )
        if error.errno in _WRONG_KIND and os.path.isdir(self._root):
            detail = "a file in a folder's place" if error.errno == errno.ENOTDIR else "a directory"
            return self._unreadable(name, Unreadable.NOT_A_FILE, detail)
        return self._unavailable(f"{name} cannot be written: {_say(error)}")

    def _unreadable(self, name: str, reason: Unreadable, detail: str = "") -> RecordUnreadable:
        return RecordUnreadable(name, reason, store=self._url, detail=detail)

    def _unavailable(self, what: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._url} does not work: {what}. Look at that directory and its mount, or set "
            "TUNEONCE_STORE to another place; `tuneonce env` shows what is in use.",
            store=self._url,
        )


def _is_part(name: str) -> bool:
    """Whether a directory entry may be part of a record's name; foreign files are not listed."""
    try:
        check_name(name)
    except ValueError:
        return False
    return True


def _say(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
