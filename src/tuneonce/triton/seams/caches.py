"""``triton.runtime.cache``: where binaries are, and how a binary's files lie there.

A binary is a folder under the cache's directory, named after its key in base 32. A group file
(``__grp__<name>.json``) in it names the binary's files, of which one, the metadata, stands for it.
"""

from __future__ import annotations

import json
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from . import knobs
from .seam import Feature, Finding, Seam, all_of, as_read, can_be_called, follow, is_there

MODULE = "triton.runtime.cache"


def manager(key: str) -> Any:
    """What keeps files under a key: Triton's own, or the program's."""
    return sys.modules[MODULE].get_cache_manager(key)


def keeps_files(key: str) -> bool:
    """Whether what keeps binaries here is what keeps them in a helper."""
    return type(manager(key)) is sys.modules[MODULE].FileCacheManager


def has_binary(key: str, name: str, kernel: Any = None) -> bool:
    """Whether Triton finds a binary of a source of this name under this key, of this kernel."""
    cache: Any = sys.modules[MODULE]
    kind = knobs.cache_manager_class() or cache.FileCacheManager
    # Triton would make a folder for the key, which may never be asked for.
    keeps_files = kind is cache.FileCacheManager
    there = not keeps_files or Path(knobs.cache_directory(), cache._base32(key)).is_dir()
    if not there and not (_finders and _finders[-1].has(cache._base32(key))):
        return False
    before = getattr(_asking, "kernel", None)
    _asking.kernel = kernel
    try:
        return bool(manager(key).get_group(metadata_name(name)))
    finally:
        _asking.kernel = before


def can_find_binary(key: str, name: str) -> bool:
    """Whether Triton would find a binary: it is there, or would be fetched when it is asked for."""
    own = sys.modules[MODULE].FileCacheManager
    if (knobs.cache_manager_class() or own) is not own:
        return bool(manager(key).get_group(metadata_name(name)))
    folder = folder_of(key)
    group = Path(knobs.cache_directory(), folder, f"__grp__{metadata_name(name)}")
    return group.is_file() or bool(_finders and _finders[-1].has(folder))


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
_asking = threading.local()
_ours: dict[Any, Any] = {}


def replaced(function: Any) -> Any:
    """Triton's own method in the place of ours; other functions as they are."""
    while function in _ours:
        function = _ours[function]
    return function


def look_in(finder: Finder) -> Callable[[], None]:
    """Have Triton's own cache manager ask `finder` for what is not there; returns how to end that.

    What is found is put where Triton looked, with its own methods, and then Triton looks again: so
    its own key decides, and the paths are those of now.
    """
    kind: Any = sys.modules[MODULE].FileCacheManager
    stock_group, stock_file = kind.get_group, kind.get_file

    def get_group(self: Any, filename: str) -> Any:
        found = stock_group(self, filename)
        if not found and _fetch(self, finder, _kernel_asked_for()):
            found = stock_group(self, filename)
        return found

    def get_file(self: Any, filename: str) -> Any:
        found = stock_file(self, filename)
        if found is None and _is_module(filename) and _fetch(self, finder, None):
            found = stock_file(self, filename)
        if found is not None and _is_module(filename) and finder in _finders and _is_cache(self):
            finder.used(self.key, filename)
        return found

    _ours.update({get_group: stock_group, get_file: stock_file})
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


def _kernel_asked_for() -> Any:
    """The kernel whose binary is looked for: Triton's compiler says it to its cache by no argument.

    It is the source that `compile` was given, a few frames up; None where that is not to be seen.
    """
    if (kernel := getattr(_asking, "kernel", None)) is not None:
        return kernel
    compiler: Any = sys.modules.get("triton.compiler.compiler")
    frame = sys._getframe(2)
    for _ in range(3):  # somebody may have wrapped our method
        if frame.f_code is compiler.compile.__code__:
            return getattr(frame.f_locals.get("src"), "fn", None)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


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


def group_names(folder: Path) -> dict[str, list[str]]:
    """The groups in a folder of the cache: the names of their files. Raises OSError, ValueError."""
    found = {}
    for path in folder.glob("__grp__*"):
        held = json.loads(path.read_bytes())
        found[path.name.removeprefix("__grp__")] = list(map(str, held["child_paths"]))
    return found


def directory_of(folder: str) -> Path | None:
    """A folder of the cache as it is now; None where it is not there, or is no directory."""
    place = Path(knobs.cache_directory(), folder)
    return place if place.is_dir() else None


def folder_of(key: str) -> str:
    """The name of a key's folder."""
    return str(sys.modules[MODULE]._base32(key))


def metadata_name(name: str) -> str:
    """The file that stands for a binary."""
    return f"{name[:150]}.json"


def files_of(metadata: str, place: Path, content: Any) -> dict[str, bytes]:
    """The files of a binary that lies in `place`, as `content(path)` reads them.

    Raises ValueError, LookupError and TypeError for what is none.
    """
    group = json.loads(content(place / f"__grp__{metadata}"))
    return {name: content(place / name) for name in list(group["child_paths"])}


def put(key: str, metadata: str, files: dict[str, bytes]) -> None:
    """Put a binary there as Triton's compiler would."""
    into = manager(key)
    group = {name: into.put(data, name, name != metadata) for name, data in files.items()}
    into.put_group(metadata, group)


# -- probes ----------------------------------------------------------------------------------


def _base32() -> Finding:
    return as_read(follow(MODULE, "_base32")("00ff") == "AD7Q")


def _methods(*wanted: tuple[str, int]) -> Any:
    return all_of(
        *(can_be_called(MODULE, f"FileCacheManager.{n}", "self", *["x"] * c) for n, c in wanted)
    )


def _says_the_source() -> Finding:
    code = getattr(follow("triton.compiler.compiler", "compile"), "__code__", None)
    return as_read(code is not None and "src" in code.co_varnames)


def _where_it_looks() -> Finding:
    """What a manager says of the folder that it is for; none is made."""
    kind: Any = follow(MODULE, "FileCacheManager")
    code = getattr(getattr(kind, "__init__", None), "__code__", None)
    held = {"key", "cache_dir", "lock_path"}
    return as_read(code is not None and held <= set(code.co_names))


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "cache.get_cache_manager",
        MODULE,
        (*_COMPILING, Feature.STOCK_FILES),
        "what keeps files under a key",
        can_be_called(MODULE, "get_cache_manager", "key"),
        names=("get_cache_manager",),
    ),
    Seam(
        "cache.FileCacheManager",
        MODULE,
        _COMPILING,
        "tells Triton's own from a program's, which no helper has",
        is_there(MODULE, "FileCacheManager", type),
        names=("FileCacheManager",),
    ),
    Seam(
        "cache._base32",
        MODULE,
        _COMPILING,
        "the name of a key's folder",
        _base32,
        names=("_base32",),
    ),
    Seam(
        "CacheManager: get_group, put_group, put",
        MODULE,
        _COMPILING,
        "whether a binary is there, and how it is put there",
        _methods(("get_group", 1), ("put_group", 2), ("put", 3)),
        names=("get_group", "put_group", "child_paths"),
        words=("put",),
    ),
    Seam(
        "CacheManager: get_file, put",
        MODULE,
        (Feature.STOCK_FILES,),
        "whether a file is there, and how it is put there",
        _methods(("get_file", 1), ("put", 3)),
        names=("get_file",),
    ),
    Seam(
        "FileCacheManager: key, cache_dir, lock_path, get_group, get_file",
        MODULE,
        (Feature.BINARIES,),
        "where Triton looks for files, which are put there if they were kept",
        all_of(
            _methods(("get_group", 1), ("get_file", 1), ("put_group", 2), ("put", 2)),
            _where_it_looks,
        ),
        names=("lock_path",),
        words=("key", "cache_dir"),
    ),
)
