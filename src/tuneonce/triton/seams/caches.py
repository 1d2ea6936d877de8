"""``triton.runtime.cache``: where binaries are, and how a binary's files lie there.

A binary is a folder under the cache's directory, named after its key in base 32. A group file
(``__grp__<name>.json``) in it names the binary's files, of which one, the metadata, stands for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from . import asked_for, knobs, lookups
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
    if not there and not lookups.may_find(cache._base32(key)):
        return False
    with asked_for.asking_for(kernel):
        return bool(manager(key).get_group(metadata_name(name)))


def can_find_binary(key: str, name: str) -> bool:
    """Whether Triton would find a binary: it is there, or would be fetched when it is asked for."""
    own = sys.modules[MODULE].FileCacheManager
    if (knobs.cache_manager_class() or own) is not own:
        return bool(manager(key).get_group(metadata_name(name)))
    folder = folder_of(key)
    group = Path(knobs.cache_directory(), folder, f"__grp__{metadata_name(name)}")
    return group.is_file() or lookups.may_find(folder)


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


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)
_REPLAY = (Feature.WARM, Feature.BINARIES)

SEAMS = (
    Seam(
        "cache.get_cache_manager",
        MODULE,
        (*_COMPILING, Feature.STOCK_FILES, Feature.WARM),
        "what keeps files under a key",
        can_be_called(MODULE, "get_cache_manager", "key"),
        names=("get_cache_manager",),
    ),
    Seam(
        "cache.FileCacheManager",
        MODULE,
        (*_COMPILING, *_REPLAY),
        "tells Triton's own from a program's, which no helper has",
        is_there(MODULE, "FileCacheManager", type),
        names=("FileCacheManager",),
    ),
    Seam(
        "cache._base32",
        MODULE,
        (*_COMPILING, *_REPLAY),
        "the name of a key's folder",
        _base32,
        names=("_base32",),
    ),
    Seam(
        "CacheManager: get_group, put_group, put",
        MODULE,
        (*_COMPILING, Feature.WARM),
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
)
