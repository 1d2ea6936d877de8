"""Compiled binaries that are kept beside Triton's cache, for a start that finds that one empty.

A binary is code, so this is a private directory with the trust of Triton's own cache: of this user
alone, closed to all others, never shared. What is not so is not used. Each folder of Triton's cache
that the program has used is one ZIP file, named as the folder is::

    <directory>/<key in base 32>.zip       its files as Triton left them, and ``about.json``

The key is Triton's: the program computes it, and what lies under another is not looked at. It does
not hold all that a kernel reads (a dtype in a global; with 3.4, any global), so a binary also has
the fingerprint of its kernel (`triton.kernel.identity`), which must be that of the one that asks:
whoever empties Triton's cache because of such a binary must not get it back. A file
is put into Triton's cache when Triton asks for it and does not find it (`triton.seams.caches`). The
directory is bounded; what was used longest ago is removed first.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..events.log import EventLog
from ..store.bounded import READ_S
from ..system.file_modes import make_closed_directory
from ..system.forks import renew_in_child
from ..system.threads import BoundedCalls, Overdue
from ..triton.kernel.identity import fingerprint
from ..triton.seams.lookups import Kept

T = TypeVar("T")

# No folder of Triton's has more; of a large kernel, with all its texts, some 10 MB. Arbitrary.
_MOST_BYTES, _MOST_FILES = 64 << 20, 64
_ABOUT = "about.json"
# Such a part of the limit is left free when the directory is looked through, and written before
# that is done again. Arbitrary: it takes a call of the system for each file.
_SPARE = 8
_KEY = re.compile(r"[A-Za-z0-9_=-]{8,128}")
_FILE = re.compile(r"[^/\0.][^/\0]{0,254}")
_SUFFIX = ".zip"


class KeptBinaries:
    """A private directory of binaries, at most `limit` bytes. Raises nothing. Thread-safe.

    `places` are asked in turn: what is kept goes to the first that is private, or can be made so;
    until then files are found in the first that is there and private. `writes`: with False, nothing
    is kept, removed, made or marked as used.
    """

    def __init__(
        self,
        places: Callable[[], list[Path]],
        limit: int,
        events: EventLog,
        *,
        writes: bool = True,
    ) -> None:
        self._places, self._limit, self._events = places, limit, events
        self._writes = writes and limit > 0
        self._folders: Callable[[str, str], Any] = lambda folder, file: None
        self._calls = BoundedCalls()
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        self._lock = threading.Lock()
        self._made: Path | None = None
        self._silent = False
        self._asked = self._told = False
        self._kept: set[str] = set()
        self._written = self._limit  # so that the first write has it looked through

    @property
    def directory(self) -> Path | None:
        """Where binaries are; None where there is no private place, or none was made yet."""
        with self._lock:
            return self._made or self._first(make=False)

    def _opened(self) -> Path | None:
        """Where to keep binaries, made if it was not there; None where there is no such place."""
        with self._lock:
            if not self._asked:
                self._asked = True
                self._made = self._first(make=True)
            return self._made

    def _first(self, *, make: bool) -> Path | None:
        refused = []
        for place in self._places():
            try:
                if make:
                    make_closed_directory(str(place.parent))
                    with contextlib.suppress(FileExistsError):
                        place.mkdir(0o700)
                about = place.lstat()
                why = _not_private(about) or (not stat.S_ISDIR(about.st_mode) and "no directory")
                if not why:
                    return place
            except FileNotFoundError as error:
                if not make:
                    continue
                why = str(error)
            except OSError as error:
                why = str(error)
            refused.append(f"{place}: {why}")
        if refused and not self._told:
            self._told = True
            self._events.emit("problem", what="binaries_not_kept", detail="; ".join(refused))
        return None

    # -- what Triton's cache lacks -----------------------------------------------------------

    def has(self, folder: str) -> bool:
        return self._within(lambda: self._has(folder), otherwise=False)

    def find(self, folder: str, kernel: Any = None) -> Kept | None:
        if _KEY.fullmatch(folder) is None:
            return None
        began = time.perf_counter()
        found = self._within(lambda: self._found(folder), otherwise=None)
        if found is None:
            return None
        kept, of_kernel = found
        if of_kernel and of_kernel != _fingerprint_of(kernel):
            return None
        if self._writes:
            self._within(lambda: self._use(folder), otherwise=None)
        self._events.emit(
            "restore",
            binaries=1,
            bytes=sum(map(len, kept.files.values())),
            seconds=round(time.perf_counter() - began, 6),
        )
        return kept

    def _has(self, folder: str) -> bool:
        directory = self.directory
        return directory is not None and self._path(directory, folder).is_file()

    def _found(self, folder: str) -> tuple[Kept, str] | None:
        """The files of a folder, and the fingerprint of its kernel. Raises nothing."""
        directory = self.directory
        if directory is None:
            return None
        path = self._path(directory, folder)
        try:
            return _read(path)
        except FileNotFoundError:
            return None
        except Exception as error:  # damaged archives raise errors of many kinds
            self._events.emit("problem", what="binary_unreadable", detail=f"{path.name}: {error!r}")
            if self._writes:
                with contextlib.suppress(OSError):  # it is ours, and of no use
                    path.unlink()
            return None

    def _use(self, folder: str) -> None:
        if (directory := self.directory) is not None:
            _use(self._path(directory, folder))

    def _within(self, call: Callable[[], T], *, otherwise: T) -> T:
        """What a call that looks returns; after one that was not back in time, none is made.

        A launch waits for it, and the directory may be on a mount that has died.
        """
        if self._silent:
            return otherwise
        try:
            return self._calls(call, READ_S)
        except Overdue as error:
            self._silent = True
            self._events.emit("problem", what="binaries_not_read", detail=str(error))
            return otherwise

    def used(self, folder: str, file: str) -> None:
        """A launcher was taken from Triton's cache: it is needed, too."""
        self._folders(folder, file)

    def tell_of_launchers(self, hear: Callable[[str, str], Any]) -> None:
        """Call `hear(folder, file)` for every file that is in no group and was used."""
        self._folders = hear

    # -- what the next start may lack --------------------------------------------------------

    def keep(self, folder: Path, groups: Mapping[str, list[str]], of_kernel: str = "") -> None:
        """Keep the files of a folder of Triton's cache, unless they are here already.

        Of those, what is in `groups`; where there are none, its modules. `of_kernel` is the
        fingerprint of the kernel, "" for what is of none. Raises nothing.
        """
        if not self._writes or self._silent or folder.name in self._kept:
            return
        directory = self._opened()
        if directory is None:
            return
        path = self._path(directory, folder.name)
        try:
            if path.is_file():
                _use(path)
            else:
                names = [n for group in groups.values() for n in group]
                names = names or [one.name for one in folder.glob("*.so")]
                files = {name: (folder / name).read_bytes() for name in dict.fromkeys(names)}
                if not files or sum(map(len, files.values())) > _MOST_BYTES:
                    return
                self._write(directory, path, Kept(files, dict(groups)), of_kernel)
                self._written += path.stat().st_size
                if self._written >= self._limit // _SPARE:
                    self._written = 0
                    self.trim()
            self._kept.add(folder.name)
        except (OSError, ValueError) as error:  # the cache was emptied meanwhile, a full disk
            self._events.emit("problem", what="binary_not_kept", detail=f"{folder.name}: {error}")

    @staticmethod
    def _write(directory: Path, path: Path, kept: Kept, of_kernel: str) -> None:
        fd, name = tempfile.mkstemp(prefix=".draft-", dir=directory)
        draft = Path(name)
        try:
            with os.fdopen(fd, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
                z.writestr(_ABOUT, json.dumps({"kernel": of_kernel, "groups": kept.groups}))
                for name, data in kept.files.items():
                    z.writestr(name, data, compresslevel=1)
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise

    def trim(self) -> None:
        """Remove what was used longest ago, until the rest is well within the limit.

        Raises nothing.
        """
        directory = self.directory if self._writes else None
        if directory is None:
            return
        with contextlib.suppress(OSError):
            found = []
            for one in directory.iterdir():
                about = one.lstat()
                if one.name.endswith(_SUFFIX):
                    found.append((about.st_mtime, about.st_size, one))
                elif time.time() - about.st_mtime > 3600.0:  # a draft of a killed process
                    one.unlink()
            total = sum(size for _, size, _ in found)
            for _, size, path in sorted(found):
                if total <= self._limit - self._limit // _SPARE:
                    return
                path.unlink()
                total -= size

    @staticmethod
    def _path(directory: Path, folder: str) -> Path:
        return directory / f"{folder}{_SUFFIX}"


def _use(path: Path) -> None:
    """Note that it was used just now."""
    with contextlib.suppress(OSError):  # a read-only disk
        os.utime(path)


def _not_private(about: os.stat_result) -> str | None:
    """Why a directory or file is not to be trusted with code; None if it is."""
    if stat.S_ISLNK(about.st_mode):
        return "it is a link"
    if about.st_uid != os.geteuid():
        return "it belongs to another user"
    if about.st_mode & 0o077:
        return "other users may enter it"
    return None


def _fingerprint_of(kernel: Any) -> str | None:
    try:
        found = None if kernel is None else fingerprint(kernel)
    except Exception:  # what a program's object does when it is looked at
        return None
    return None if found is None else found.digest


def _read(path: Path) -> tuple[Kept, str]:
    """A kept folder, and the fingerprint of its kernel.

    Raises OSError, ValueError, KeyError and BadZipFile.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or (why := _not_private(status)) is not None:
            raise ValueError("no file of ours" if not stat.S_ISREG(status.st_mode) else why)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > _MOST_FILES + 1 or sum(m.file_size for m in members) > _MOST_BYTES:
                raise ValueError("it holds too much")
            about = json.loads(archive.read(_ABOUT))
            groups, of_kernel = dict(about["groups"]), str(about["kernel"])
            files = {m.filename: archive.read(m) for m in members if m.filename != _ABOUT}
    if any(_FILE.fullmatch(name) is None for name in files):
        raise ValueError("it holds a path")
    if not {name for group in groups.values() for name in group} <= files.keys():
        raise ValueError("it lacks a file")
    named = {str(name): list(map(str, group)) for name, group in groups.items()}
    return Kept(files, named), of_kernel
