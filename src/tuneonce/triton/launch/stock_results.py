"""The file in which Triton itself keeps a key's results (``*.autotune.json``).

Where a program has Triton keep results, it is written when we tune, too: a process without us, or
one that is left with nothing but Triton's cache, then finds what stock would have left. It also
says for which world it was measured, which stock does not ask: H100, H200 and H20 share a key.

The name of the file is Triton's own digest, taken from Triton's own code.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

from ..kernel.call import view_of
from ..kernel.identity import innermost
from ..kernel.session import Session
from ..seams import compat

# What we add to the file. Triton reads "configs_timings" alone.
_OURS = "tuneonce"
# Arbitrary: a hundred candidates are 20 KB.
_MOST_BYTES = 4 << 20


class _Asked(Exception):
    """Carries what Triton would digest out of its own code."""

    def __init__(self, what: bytes) -> None:
        self.what = what


def take_over(session: Session) -> Mapping[Any, Any] | None:
    """The timings of Triton's file, found and read by Triton's own code; None if there is none.

    None, too, if it was written by us for another world, and whatever Triton raises.
    """
    view, world = view_of(session.autotuner, session.nargs), session.world
    stock_key, configs = session.stock_key, session.candidates
    try:
        if not _may_be_digested(view):
            return None
        place = _place(view, stock_key, configs)
        if place is not None and world is not None and _world_of(place) not in (None, world):
            return None
        found = view.check_disk_cache(stock_key, configs, _no_file)
    except Exception:  # no file; or one that is corrupt, which stock would raise in the launch
        return None
    return vars(view).get("configs_timings") if found else None


def keep(session: Session) -> None:
    """Write Triton's file as Triton would, if it would and there is none.

    Stock takes the least time: candidates that tied with the winner at a lesser one are left out.
    What stock could not keep is not kept. Raises nothing.
    """
    view, timings = view_of(session.autotuner, session.nargs), session.timings
    try:
        if not getattr(view, "cache_results", False) or not _may_be_digested(view):
            return
        found = _place(view, session.stock_key, session.candidates)
        if found is None:
            return
        manager, name = found
        if manager.get_file(name) is None:
            results = [
                (config.__dict__, timing)
                for config, timing in timings.items()
                if config is session.winner or not timing < timings[session.winner]
            ]
            said: dict[str, Any] = {"key": session.stock_key, "configs_timings": results}
            if session.world is not None:
                said[_OURS] = {"world": session.world}
            manager.put(json.dumps(said), name, binary=False)
    except Exception:  # a key that JSON cannot hold, a full disk: as if stock had kept nothing
        return


def _may_be_digested(view: Any) -> bool:
    """Whether Triton's digest of the kernel is no other now than in a launch."""
    hooks = getattr(innermost(view.fn), "pre_run_hooks", None)  # interpreted kernels have none
    return not compat.interpreting() and hooks is not None and not hooks


def _place(view: Any, stock_key: tuple[Any, ...], configs: Sequence[Any]) -> Any:
    """Triton's cache manager for the file, and its name there; None if Triton keeps none.

    Triton's method is run up to where it digests what identifies the file.
    """
    method: Any = type(view).check_disk_cache
    scope = vars(sys.modules[compat.AUTOTUNER_MODULE])
    if not isinstance(method, FunctionType) or method.__globals__ is not scope:
        return None  # another package's, which keeps results elsewhere
    stopping = {**scope, "hashlib": SimpleNamespace(sha256=_asked)}
    try:
        FunctionType(method.__code__, stopping)(view, stock_key, configs, _no_file)
    except _Asked as asked:
        cache: Any = sys.modules["triton.runtime.cache"]
        kernel = innermost(view.fn)
        name = f"{kernel.__name__[:150]}.autotune.json"
        return cache.get_cache_manager(hashlib.sha256(asked.what).hexdigest()), name
    except _NoFile:  # candidates with hooks, or an empty key
        return None
    return None


def _asked(what: bytes) -> Any:
    raise _Asked(what)


def _world_of(place: tuple[Any, str]) -> str | None:
    """The world for which a file was written here; None if it was not."""
    manager, name = place
    path = manager.get_file(name)
    if path is None or Path(path).stat().st_size > _MOST_BYTES:
        return None
    said = json.loads(Path(path).read_text()).get(_OURS)
    return None if said is None else str(said["world"])


class _NoFile(Exception):
    """Triton's own cache has no result for this key."""


def _no_file() -> None:
    raise _NoFile
