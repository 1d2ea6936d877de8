"""The size of one launch: its number of programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..seams import kernels, wrappers


def programs(
    autotuner: Any, nargs: Mapping[str, Any], kwargs: Mapping[str, Any], config: Any = None
) -> int | None:
    """The number of programs of this launch with `config`; None if unknown.

    `config` is the kernel's first candidate if it is None. The grid is evaluated as Triton would:
    over the call's arguments, the parameters' defaults, the candidate's values and what
    ``@heuristics`` below the autotuner computes; its first three sizes count. Raises nothing.
    """
    grid = kwargs.get("grid")
    try:
        if callable(grid):
            first = autotuner.configs[0] if config is None else config
            meta = {**nargs, **kwargs, **first.all_kwargs()}
            grid = grid(_complete(autotuner.fn, meta))
    except Exception:
        return None
    return product(grid)


def product(grid: Any) -> int | None:
    """The number of programs of a grid that is no function; None if it is none. Raises nothing."""
    try:
        sizes = grid if isinstance(grid, (tuple, list)) else (grid,)
        found = 1
        for size in sizes[:3]:
            number = int(size)
            found = found * number if number > 0 else 0
        return found
    except Exception:
        return None


def _complete(fn: Any, meta: dict[str, Any]) -> dict[str, Any]:
    signature = None
    while fn is not None:
        for name, heuristic in (wrappers.heuristics(fn) or {}).items():
            meta[name] = heuristic(meta)
        signature = kernels.signature(fn, signature)
        fn = getattr(fn, "fn", None)
    if signature is not None:
        for parameter in signature.parameters.values():
            if parameter.default is not parameter.empty:
                meta.setdefault(parameter.name, parameter.default)
    return meta
