"""Keys that are being explored: how a launch finds them without asking anything.

They are found by Triton's key, and sooner by the call's own key, as winners are (`known_winners`).
A key has one exploration for each work class that it was met with.
"""

from __future__ import annotations

import math
from typing import Any

from ...model.key import work_class
from .autotuner_state import AutotunerState
from .grid import programs
from .known_winners import find, remember_as
from .session import Session


class ExploringKey:
    """What is explored under one of Triton's keys, by work class."""

    __slots__ = ("classes", "first", "stock_key")

    def __init__(self, stock_key: tuple[Any, ...], first: Any) -> None:
        self.stock_key = stock_key
        self.first = first
        """The first candidate's values, with which the number of programs is computed."""
        self.classes: dict[str, Any] = {}


def keep_exploring(session: Session, explored: Any) -> Any:
    """Have later launches find it; what they find, which another thread may have been first with.

    The session is of the launch itself: its arguments say what later calls like it look like.
    """
    autotuner, state, stock_key = session.autotuner, session.state, session.stock_key
    first = dict(autotuner.configs[0].all_kwargs())
    key = state.exploring.setdefault(stock_key, ExploringKey(stock_key, first))
    name = work_class(programs(autotuner, session.nargs, session.kwargs))
    remember_as(state.exploring_shapes, autotuner, session.args, session.kwargs, key)
    return key.classes.setdefault(name, explored)


def exploring(
    autotuner: Any, state: AutotunerState, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ExploringKey | None:
    """What is explored for a call like this, if it was called in this way before."""
    found: ExploringKey | None = find(state.exploring_shapes, autotuner, args, kwargs)
    return found


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
        nargs = dict(zip(autotuner.arg_names, args, strict=False))
        try:
            grid = grid({**nargs, **kwargs, **key.first})
        except Exception:
            return programs(autotuner, nargs, kwargs)
    if type(grid) is not tuple:
        return programs(autotuner, {}, {"grid": grid})
    try:
        return math.prod(grid[:3])
    except Exception:
        return None
