"""Records as files of one directory, which may be shared over a network.

    <root>/<kernel>/<world>/<key>/<record>      readable as the root is (`system.file_modes`)
    <root>/<kernel>/.../.tmp-<pid>-<random>     being written; swept after an hour
    <root>/.set-aside/<time>-<random>-<record>  could not be used; the newest 64 are kept

No link below the root is followed, read, written through or moved (`_below`): what stands behind
one counts as unreadable. Only the names above are ever moved or removed.

Nothing is touched before the first put, and no descriptor, lock or thread is held between calls,
so a store may be used on both sides of a fork. A record's last path part and the temporary name
are in one folder, hence in one file system, so that names change in one step.

**Which records are believed.** A record must be a regular file that belongs to this user, to root
or to the owner of the root directory; in a directory that is shared by a group
(`system.file_modes`), it may belong to any user. A file that every user may write to counts only
where every user may write to the root.

**What is not promised.** After a power failure a record put with ``durable=False`` may be missing,
empty or cut short. ``delete_if`` and ``set_aside(seen=...)`` rename the record away, look at it
again and put it back if it is another one than expected; meanwhile it seems absent, a
``put_if_absent`` that comes just then wins over it, and a process killed just then loses it. On a
network file system another host may see a change a moment later, as its caches decide. A dead NFS
server blocks the caller as long as the mount's own time limit says.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import islice

from ..addresses import url_of
from ..errors import (
    RecordUnreadable,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    Unreadable,
)
from ..system.file_modes import is_shared
from . import _atomic, _below
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

# A folder may be deleted between making it and writing into it. When that happens three times in a
# row, it is no clean-up, and the write has failed.
_TRIES = 3

_NO_FOLDER = "a file or a link in a folder's place"


class FileStore(Store):
    """The directory ``root``, which need not exist yet. See the module for its guarantees."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        bake: bool = False,
        most_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        """``bake``: every user may read what is written, and the folders on the way to it.

        ``most_bytes``: no record is larger.
        """
        self._root = os.path.abspath(os.fspath(root)).rstrip("/")
        if not self._root:
            raise ValueError("the root of the file system is no place for a store")
        self._url = url_of(self._root)
        self._bake = bake
        self._most_bytes = most_bytes
        self._swept: set[str] = set()
        self._believed: set[int] = set()

    # -- reading -----------------------------------------------------------------------------

    def get(self, name: str) -> bytes | None:
        check_name(name)
        try:
            return _atomic.patiently(lambda: self._read(name))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._not_read(error, name) from error

    def _read(self, name: str) -> bytes:
        folder, _, last = name.rpartition("/")
        at = _below.open_folder(self._root, folder)
        try:
            return self._read_in(at, last, name)
        finally:
            os.close(at)

    def _read_in(self, at: int, last: str, name: str) -> bytes:
        fd = os.open(last, _READ, dir_fd=at)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise self._unreadable(name, Unreadable.NOT_A_FILE)
            if status.st_size > self._most_bytes:
                raise self._unreadable(name, Unreadable.TOO_LARGE, f"{status.st_size} bytes")
            if doubt := self._doubt(status):
                raise self._unreadable(name, Unreadable.OWNER, doubt)
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

    def _doubt(self, record: os.stat_result) -> str:
        """Why a record is not believed, or ``""``."""
        everyones = record.st_mode & stat.S_IWOTH
        # Users that the root allows are remembered: it is asked for each of them, not each record.
        known = record.st_uid in (os.geteuid(), 0) or record.st_uid in self._believed
        if known and not everyones:
            return ""
        root = os.stat(self._root)
        if everyones and not root.st_mode & stat.S_IWOTH:
            return "every user may write it"
        if not known and record.st_uid != root.st_uid and not is_shared(root):
            return f"user {record.st_uid}"
        self._believed.add(record.st_uid)
        return ""

    def list(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        return self._walk(prefix)

    def _walk(self, prefix: str) -> Iterator[str]:
        for name in self.children(prefix):
            if name.endswith("/"):
                yield from self._walk(name)
            else:
                yield name

    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        folder, _, start = check_prefix(prefix).rpartition("/")
        below = f"{folder}/" if folder else ""
        lowest = below.count("/") == MAX_NAME_PARTS - 1
        looked_at = None if limit is None else max(limit, _atomic.MAX_LOOKED_AT)
        try:
            # Read to its end before anything is handed out: a caller that stops half-way, or
            # forks, leaves no open folder behind.
            with _below.entries(self._root, folder) as entries:
                found = (
                    below + entry.name + "/" * entry.is_dir(follow_symlinks=False)
                    for entry in islice(entries, looked_at)
                    if entry.name.startswith(start) and _is_part(entry.name)
                )
                # The folder is of a volume that is mounted as the root.
                known = (n for n in found if n != "lost+found/" and not (lowest and n[-1] == "/"))
                return [*islice(known, limit)]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            if folder and os.path.isdir(self._root):
                return []  # a record or a link: nothing is below it
            raise self._unavailable(f"{self._root} is not a directory") from None
        except OSError as error:
            if folder and self._is_closed_below(error):
                raise self._closed(below) from error
            raise self._unavailable(f"{folder or '/'} cannot be listed: {_say(error)}") from error

    # -- writing -----------------------------------------------------------------------------

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._write(name, data, durable=durable, only_new=False)

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        return self._write(name, data, durable=durable, only_new=True)

    def _write(self, name: str, data: bytes, *, durable: bool, only_new: bool) -> bool:
        folder, _, last = check_name(name).rpartition("/")
        check_data(data, self._most_bytes)
        try:
            for _ in range(_TRIES):
                try:
                    ours = self._write_into(folder, last, data, durable, only_new)
                    break
                except FileNotFoundError:
                    with contextlib.suppress(FileNotFoundError):  # deleted while it is made
                        _below.make_root(self._root, bake=self._bake)
            else:
                ours = self._write_into(folder, last, data, durable, only_new)
            if self._bake:
                _below.let_all_read(self._root, folder)
            if ours and durable:
                _below.sync_folders(self._root, folder)
        except OSError as error:
            raise self._not_written(error, name) from error
        return ours

    def _write_into(
        self, folder: str, last: str, data: bytes, durable: bool, only_new: bool
    ) -> bool:
        with _below.made(self._root, folder, bake=self._bake) as made:
            at = made.at
            # Most often the record is there already, and nothing has to be written to find out.
            if only_new and not made.new and _atomic.exists(at, last):
                return False
            temp = _atomic.write_temp(at, data, made.modes, durable=durable)
            try:
                self._sweep_once(folder, temp, new=made.new)
                if only_new:
                    return _atomic.publish_new(temp, at, last)
                _atomic.publish(temp, at, last)
                return True
            finally:
                _atomic.discard(at, temp.name)

    def _sweep_once(self, folder: str, temp: _atomic.Temp, *, new: bool) -> None:
        if folder not in self._swept:
            if len(self._swept) > 10_000:  # a bound on memory, arbitrary; sweeping twice is fine
                self._swept.clear()
            self._swept.add(folder)
            if new:  # nobody has been killed in it yet
                return
            with contextlib.suppress(OSError), _below.entries_of(temp.at) as entries:
                _atomic.sweep(temp.at, entries, temp.status.st_ctime)

    # -- taking away -------------------------------------------------------------------------

    def delete_if(self, name: str, expected: bytes) -> bool:
        if self.get(name) != expected:
            return False
        folder, _, last = name.rpartition("/")
        away = _atomic.temp_name()
        try:
            with _below.opened(self._root, folder) as at:
                if not self._take_if(at, last, at, away, expected):
                    return False
                os.unlink(away, dir_fd=at)
                return True
        except FileNotFoundError:
            return False  # removed since, and its folder with it
        except OSError as error:
            raise self._not_written(error, name) from error

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        check_name(name)
        try:
            if seen is not None and self.get(name) != seen:
                return False
        except RecordUnreadable:
            return False  # something else by now, which its reader sets aside without ``seen``
        kept = _atomic.kept_name(name.rpartition("/")[2])
        try:
            # What has the name, or a file that stands where a folder of this name belongs.
            with _below.found(self._root, name) as (at, entry):
                if stat.S_ISLNK(os.lstat(entry, dir_fd=at).st_mode):
                    return False
                with _below.made(self._root, SET_ASIDE, bake=self._bake) as aside:
                    moved = self._take_if(at, entry, aside.at, kept, seen)
                    if moved:
                        with _below.entries_of(aside.at) as entries:
                            _atomic.drop_oldest(aside.at, entries, MAX_SET_ASIDE)
                    return moved
        except (FileNotFoundError, NotADirectoryError):
            return False  # gone since, or a link is in the way, here or where it would be kept
        except OSError as error:
            if error.errno in _MAY_NOT_MOVE:
                return False
            raise self._not_written(error, name) from error

    def _take_if(self, at: int, last: str, to: int, away: str, expected: bytes | None) -> bool:
        """Move what has the name, if it is ``expected``; else leave it or put it back.

        With None whatever is no link is moved.
        """
        if not _atomic.take(at, last, to, away):
            return False
        try:
            if expected is None:
                same = not stat.S_ISLNK(os.lstat(away, dir_fd=to).st_mode)
            else:
                same = self._read_in(to, away, last) == expected
        except (OSError, RecordUnreadable):
            same = False
        if not same:
            _atomic.give_back(to, away, at, last)
        return same

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
            if not os.access(path, os.R_OK | os.X_OK):
                notes.append(f"this process (user {os.geteuid()}) may not read it")
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

    def _not_read(self, error: OSError, name: str) -> StoreError:
        if error.errno in _LINK_OR_SOCKET and os.path.isdir(self._root):
            return self._unreadable(name, Unreadable.NOT_A_FILE)
        if error.errno == errno.ENOTDIR and os.path.isdir(self._root):
            return self._unreadable(name, Unreadable.NOT_A_FILE, _NO_FOLDER)
        if self._is_closed_below(error):
            return self._closed(name)
        return self._unavailable(f"{name} cannot be read: {_say(error)}")

    def _is_closed_below(self, error: OSError) -> bool:
        """Whether it is a part of the store that is closed to this user, and not all of it."""
        if error.errno not in (errno.EACCES, errno.EPERM):
            return False
        return os.access(self._root, os.X_OK, effective_ids=True)

    def _closed(self, name: str) -> RecordUnreadable:
        return self._unreadable(name, Unreadable.PERMISSION, f"as user {os.geteuid()}")

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
            detail = _NO_FOLDER if error.errno == errno.ENOTDIR else "a directory"
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
