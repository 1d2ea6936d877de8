"""The file in which Triton keeps a key's results: ``<kernel>.autotune.json`` in its cache.

It is a JSON object of "key" and "configs_timings", pairs of a candidate's fields and its timing.
The name of its folder is Triton's own digest, taken from Triton's own code.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

from . import autotuners, caches
from .seam import Feature, Finding, Seam, as_read, can_be_called, follow

SUFFIX = ".autotune.json"
# Arbitrary: a hundred candidates are 20 KB.
_MOST_BYTES = 4 << 20


def parsed(text: bytes) -> tuple[Any, list[Any]]:
    """The key of a file, and its pairs of a candidate's fields and its timing.

    Raises what such a file may be wrong by: ValueError, LookupError, TypeError.
    """
    document = json.loads(text)
    return document["key"], document["configs_timings"]


class NoFile(Exception):
    """Triton's own cache has no result for this key."""


class _Asked(Exception):
    """Carries what Triton would digest out of its own code."""

    def __init__(self, what: bytes) -> None:
        self.what = what


class ResultFile:
    """The file of one key, in Triton's cache manager or the program's; it may not be there."""

    def __init__(self, key: str, kernel: str) -> None:
        self._manager = caches.manager(key)
        self._name = f"{kernel[:150]}{SUFFIX}"

    def exists(self) -> bool:
        return self._manager.get_file(self._name) is not None

    def extra(self, name: str) -> Any:
        """What stands in it under a name that Triton passes over; None if nothing does."""
        path = self._manager.get_file(self._name)
        if path is None or Path(path).stat().st_size > _MOST_BYTES:
            return None
        return json.loads(Path(path).read_text()).get(name)

    def write(
        self, stock_key: tuple[Any, ...], timings: Sequence[tuple[Any, Any]], **extra: Any
    ) -> None:
        """Keep timings by candidate, as Triton does. Raises for what JSON cannot hold."""
        results = [(config.__dict__, timing) for config, timing in timings]
        said = {"key": stock_key, "configs_timings": results, **extra}
        self._manager.put(json.dumps(said), self._name, binary=False)


def place(
    view: Any, kernel: Any, stock_key: tuple[Any, ...], configs: Sequence[Any]
) -> ResultFile | None:
    """The file of a key; None if Triton keeps none, or a program keeps results its own way.

    Triton's method is run up to where it digests what identifies the file.
    """
    method: Any = type(view).check_disk_cache
    scope = vars(sys.modules[autotuners.MODULE])
    if not isinstance(method, FunctionType) or method.__globals__ is not scope:
        return None
    stopping = {**scope, "hashlib": SimpleNamespace(sha256=_asked)}
    try:
        FunctionType(method.__code__, stopping)(view, stock_key, configs, no_file)
    except _Asked as asked:
        return ResultFile(hashlib.sha256(asked.what).hexdigest(), kernel.__name__)
    except NoFile:  # candidates with hooks, or an empty key
        return None
    return None


def read(view: Any, stock_key: tuple[Any, ...], configs: Sequence[Any]) -> Mapping[Any, Any] | None:
    """The timings of Triton's file, found and read by Triton's own code.

    Raises `NoFile`, and what Triton raises for a file that is corrupt.
    """
    found = view.check_disk_cache(stock_key, configs, no_file)
    return autotuners.timings(view) if found else None


def _asked(what: bytes) -> Any:
    raise _Asked(what)


def no_file() -> None:
    """In the place of the tuning that Triton turns to where it has no file."""
    raise NoFile


def _uses_hashlib() -> Finding:
    """The name through which Triton's method digests, where it is stopped."""
    return as_read(follow(autotuners.MODULE, "hashlib") is hashlib)


SEAMS = (
    Seam(
        "Autotuner.check_disk_cache",
        autotuners.MODULE,
        (Feature.STOCK_FILES,),
        "finds, reads and writes Triton's file of a key's results",
        can_be_called(
            autotuners.MODULE, "Autotuner.check_disk_cache", "self", "key", "configs", "bench"
        ),
        names=("check_disk_cache",),
    ),
    Seam(
        "autotuner.hashlib",
        autotuners.MODULE,
        (Feature.STOCK_FILES,),
        "where that method is stopped, to learn the file's name",
        _uses_hashlib,
    ),
)
