"""``FileCacheManager``: how Triton looks for files in its cache, and who else is asked for them."""

from __future__ import annotations

import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from . import asked_for, knobs
from .seam import Feature, Finding, Seam, all_of, as_read, can_be_called, follow

MODULE = "triton.runtime.cache"
_METHODS = (("get_group", 1), ("get_file", 1), ("put_group", 2), ("put", 2))


class Kept(NamedTuple):
    """The files of one folder by name, and the names of those that are in a group, by its name."""

    files: dict[str, bytes]
    groups: dict[str, list[str]]


class Finder(Protocol):
    """Has files that Triton's cache may lack, by the names of its folders. Raises nothing."""

    def has(self, folder: str) -> bool:
        """Whether it has the files of a folder."""

    def find(self, folder: str, kernel: Any) -> Kept | None:
        """The files of a folder, for a binary of `kernel`; None: it is for no kernel."""

    def used(self, folder: str, file: str) -> None:
        """Hears that Triton has taken this file, which is in no group."""


_finders: list[Finder] = []
_looking = threading.local()


def look_in(finder: Finder) -> Callable[[], None]:
    """Have Triton's own cache manager ask `finder` for what is not there; returns how to end that.

    What is found is put where Triton looked, with its own methods, and then Triton looks again: so
    its own key decides, and the paths are those of now.
    """
    kind: Any = sys.modules[MODULE].FileCacheManager
    stock_group, stock_file = kind.get_group, kind.get_file

    def get_group(self: Any, filename: str) -> Any:
        found = stock_group(self, filename)
        if found:
            return found
        if (place := asked_for.place_apart()) is not None:
            return _lent(self, finder, asked_for.kernel(), filename, place)
        if _fetch(self, finder, asked_for.kernel()):
            found = stock_group(self, filename)
        return found

    def get_file(self: Any, filename: str) -> Any:
        found = stock_file(self, filename)
        if found is None and _is_module(filename) and _fetch(self, finder, None):
            found = stock_file(self, filename)
        if found is not None and _is_module(filename) and finder in _finders and _is_cache(self):
            finder.used(self.key, filename)
        return found

    # So that others, and we, can tell what is behind them.
    vars(get_group)["__wrapped__"], vars(get_file)["__wrapped__"] = stock_group, stock_file
    kind.get_group, kind.get_file = get_group, get_file
    _finders.append(finder)

    def end() -> None:
        _finders.remove(finder)
        # Under another's wrapper ours stays, and finds nothing any more.
        if kind.get_group is get_group:
            kind.get_group = stock_group
        if kind.get_file is get_file:
            kind.get_file = stock_file

    return end


def may_find(folder: str) -> bool:
    """Whether the files of a folder would be put there if Triton looked for them."""
    return bool(_finders) and _finders[-1].has(folder)


def _is_module(filename: str) -> bool:
    """Whether it is a launcher, or what else Triton builds for itself, and no results file."""
    return filename.endswith(".so")


def _is_cache(manager: Any) -> bool:
    """Whether it keeps files in Triton's cache, and not where they are dumped or overridden."""
    return (
        type(manager) is sys.modules[MODULE].FileCacheManager
        and manager.lock_path is not None
        and manager.cache_dir == str(Path(knobs.cache_directory(), manager.key))
    )


def _fetch(manager: Any, finder: Finder, kernel: Any) -> bool:
    """Put what `finder` has of a manager's folder there. False: it has nothing."""
    if finder not in _finders or getattr(_looking, "on", False) or not _is_cache(manager):
        return False
    _looking.on = True
    try:
        kept = finder.find(manager.key, kernel)
        if kept is None:
            return False
        _put_all(manager, kept.files)
        for group, names in kept.groups.items():
            paths = {name: str(Path(manager.cache_dir, name)) for name in names}
            manager.put_group(group, paths)
        return True
    except OSError:  # a full or read-only disk: Triton goes on without
        return False
    finally:
        _looking.on = False


def _lent(
    manager: Any, finder: Finder, kernel: Any, group: str, place: Path
) -> dict[str, str] | None:
    """The files of a group, put below `place`; None: `finder` has none."""
    if finder not in _finders or not _is_cache(manager):
        return None
    kept = finder.find(manager.key, kernel)
    if kept is None or group not in kept.groups:
        return None
    folder = place / manager.key
    folder.mkdir(exist_ok=True)
    for name, data in kept.files.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in kept.groups[group]}


def _put_all(manager: Any, files: dict[str, bytes]) -> None:
    """Put files into a manager's folder: all at once where that is empty. Raises OSError."""
    folder = Path(manager.cache_dir)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent))
    try:
        draft.chmod(stat.S_IMODE(folder.stat().st_mode))
        for name, data in files.items():
            (draft / name).write_bytes(data)
        try:
            draft.rename(folder)
        except OSError:  # something is there already
            for name, data in files.items():
                manager.put(data, name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


# -- probes ----------------------------------------------------------------------------------


def _where_it_looks() -> Finding:
    """What a manager says of the folder that it is for; none is made."""
    kind: Any = follow(MODULE, "FileCacheManager")
    code = getattr(getattr(kind, "__init__", None), "__code__", None)
    held = {"key", "cache_dir", "lock_path"}
    return as_read(code is not None and held <= set(code.co_names))


SEAMS = (
    Seam(
        "FileCacheManager: key, cache_dir, lock_path, get_group, get_file",
        MODULE,
        (Feature.BINARIES,),
        "where Triton looks for files, which are put there if they were kept",
        all_of(
            *(
                can_be_called(MODULE, f"FileCacheManager.{name}", "self", *["x"] * count)
                for name, count in _METHODS
            ),
            _where_it_looks,
        ),
        names=("lock_path",),
        words=("key", "cache_dir"),
    ),
)
