"""Keys that are being explored: how a launch finds them without asking anything.

They are found by Triton's key, and sooner by the call's own key, where a winner would be
(`known_winners`). A key has one exploration for each work class that it was met with.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from ...model.key import work_class
from .autotuner_state import AutotunerState
from .grid import programs
from .known_winners import Entry, remember_as
from .session import Session


class ExploringKey:
    """What is explored under one of Triton's keys, by work class."""

    __slots__ = ("classes", "first", "keys", "stock_key")

    def __init__(self, autotuner: Any, stock_key: tuple[Any, ...]) -> None:
        self.stock_key = stock_key
        self.keys = copy.copy(autotuner.keys)
        """What the kernel was tuned by: a program may change that."""
        self.first = dict(autotuner.configs[0].all_kwargs())
        """The first candidate's values, with which the number of programs is computed."""
        self.classes: dict[str, Any] = {}


def keep_exploring(session: Session, explored: Any) -> Any:
    """Have later launches find it; what they find, which another thread may have been first with.

    The session is of the launch itself: its arguments say what later calls like it look like.
    """
    autotuner, state, stock_key = session.autotuner, session.state, session.stock_key
    key = state.exploring.setdefault(stock_key, ExploringKey(autotuner, stock_key))
    name = work_class(programs(autotuner, session.nargs, session.kwargs))
    find_exploring(key, state, autotuner, session.args, session.kwargs)
    return key.classes.setdefault(name, explored)


def find_exploring(
    key: ExploringKey,
    state: AutotunerState,
    autotuner: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Have later calls like this one find it where their winner will be. It is none itself, so the
    hot path passes it on."""
    remember_as(state.shapes, autotuner, args, kwargs, Entry(key.stock_key, key, {}, {}))


def explored_at(
    key: ExploringKey, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, int | None]:
    """What is explored at the work class of this launch, and its number of programs.

    None for a launch that decides nothing, or of a work class that was not met yet.
    """
    if key.stock_key in autotuner.cache or kwargs.get("warmup"):
        return None, None
    size = _programs(key, autotuner, args, kwargs)
    if size == 0:
        return None, None
    return key.classes.get(work_class(size)), size


def _programs(
    key: ExploringKey, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> int | None:
    """As `grid.programs`, which it asks where the grid reads more than what the caller gives."""
    grid = kwargs.get("grid")
    if callable(grid):
        meta = dict(zip(autotuner.arg_names, args, strict=False))
        meta.update(kwargs)
        meta.update(key.first)
        try:
            grid = grid(meta)
        except Exception:
            return programs(autotuner, dict(zip(autotuner.arg_names, args, strict=False)), kwargs)
    if type(grid) is not tuple:
        return programs(autotuner, {}, {"grid": grid})
    try:
        return math.prod(grid[:3])
    except Exception:
        return None
