"""The size of one launch: its number of programs, and how large its largest tensor is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ...model.key import Work
from ..seams import kernels, wrappers


def work_of(autotuner: Any, nargs: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Work:
    """How much a launch has to do, under the kernel's first candidate. Raises nothing."""
    return Work(programs(autotuner, nargs, kwargs), elements((*nargs.values(), *kwargs.values())))


def extent(work: Work) -> int | None:
    """One number by which a launch's time grows; None if it is not known.

    Of some kernels only the programs become more with the work, of others only the elements.
    """
    if work.programs is None:
        return None
    return work.programs * (work.elements or 1)


def elements(arguments: Iterable[Any]) -> int | None:
    """How many elements the largest tensor among them has; None if there is none. Raises nothing.

    A tensor is what has a shape of whole numbers; tuples are looked into.
    """
    largest = None
    for value in arguments:
        if isinstance(value, tuple):
            found = elements(value)
        else:
            try:
                shape = getattr(value, "shape", None)
                found = math.prod(shape) if isinstance(shape, (tuple, list)) else None
            except Exception:  # of an object of the program's
                found = None
        if type(found) is int and (largest is None or found > largest):
            largest = found
    return largest


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
