"""How large a launch is: its grid, evaluated once for all launches that it cannot tell apart.

A grid is most often a function of what it closes over and of some numbers among the arguments.
Evaluating it takes longer than all else of a launch of a known key, so the size is remembered by
what the grid has read: `Size.read` names the arguments, the rest is found in the function. Where
that cannot be known, in a grid that reads a tensor or an object, it is evaluated at each launch.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from .grid import programs

SizeOf = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""What tells the sizes of a key's launches apart, of one launch."""

_NUMBERS = (int, bool, str, float, type(None))
_CHANGING = (int, bool, str, float, tuple)


class Size(NamedTuple):
    """`programs` of a launch, None if unknown. `read`: the arguments that decide it beside what
    the grid itself holds; None if it is not known what decides it."""

    programs: int | None
    read: frozenset[str] | None


def size_of(
    autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], first: Mapping[str, Any]
) -> Size:
    """The size of one launch with `first`, the values of the kernel's first candidate.

    Raises nothing.
    """
    grid = kwargs.get("grid")
    if type(grid) is tuple:
        plain = all(type(size) is int for size in grid)
        return Size(_product(grid), frozenset() if plain else None)
    if not callable(grid):
        return Size(_product(grid), None)
    meta = _Meta(zip(autotuner.arg_names, args, strict=False))
    meta.update(kwargs)
    meta.update(first)
    try:
        sizes = grid(meta)
    except Exception:  # it reads what only Triton knows: a default, a heuristic
        nargs = dict(zip(autotuner.arg_names, args, strict=False))
        return Size(programs(autotuner, nargs, kwargs), None)
    if meta.whole or not _is_known(grid):
        return Size(_product(sizes), None)
    read = meta.read.difference(first)
    if not all(type(dict.get(meta, name)) in _NUMBERS for name in read):
        return Size(_product(sizes), None)
    return Size(_product(sizes), frozenset(read))


def size_reader(
    autotuner: Any, shape: tuple[Any, ...], grid: Any, read: frozenset[str]
) -> SizeOf | None:
    """A function that reads what decides the size of calls of one shape, with grids like this one;
    None if there is nothing to tell them apart by.

    `shape`: the number of positional arguments and the names of the others. It is compiled from a
    line of source, because it runs in every launch. It may raise for another kind of grid.
    """
    if type(grid) is tuple:
        return _of_tuple
    names = list(autotuner.arg_names)
    where = {name: f"args[{i}]" for i, name in enumerate(names[: shape[0]])}
    where.update((name, f"kwargs[{name!r}]") for name in shape[1:])
    if not read <= where.keys():
        return None
    # Any other grid has another code, and so nothing that is remembered.
    items = ["id((grid := kwargs['grid']).__code__)"]
    if grid.__defaults__:
        items.append("grid.__defaults__")
    items += [f"grid.__closure__[{i}].cell_contents" for i in range(len(grid.__closure__ or ()))]
    items += [f"grid.__globals__[{name!r}]" for name in _numbers_read(grid)]
    items += [where[name] for name in sorted(read)]
    found: SizeOf = eval(f"lambda args, kwargs: ({', '.join(items)},)", {"id": id})
    return found


def whole(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """All launches of a key are alike."""
    return None


def _of_tuple(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kwargs["grid"]


class _Meta(dict[str, Any]):
    """What a grid is called with; remembers what is read. `whole`: perhaps all of it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.read: set[str] = set()
        self.whole = False

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            return self[name]
        return default

    def __iter__(self) -> Iterator[str]:
        self.whole = True
        return super().__iter__()

    def keys(self) -> Any:
        self.whole = True
        return super().keys()

    def values(self) -> Any:
        self.whole = True
        return super().values()

    def items(self) -> Any:
        self.whole = True
        return super().items()

    def copy(self) -> dict[str, Any]:
        self.whole = True
        return super().copy()


def _product(grid: Any) -> int | None:
    try:
        sizes = grid if isinstance(grid, (tuple, list)) else (grid,)
        return math.prod(max(0, int(size)) for size in sizes[:3])
    except Exception:
        return None


def _is_known(grid: Any) -> bool:
    """Whether all that a grid reads beside its argument are plain values, of its own or global."""
    if type(grid) is not FunctionType or grid.__kwdefaults__ or grid.__dict__:
        return False
    code = grid.__code__
    if any(isinstance(constant, CodeType) for constant in code.co_consts):
        return False
    try:
        cells = [cell.cell_contents for cell in grid.__closure__ or ()]
    except ValueError:  # it is empty
        return False
    if not all(map(_is_plain, (*cells, *(grid.__defaults__ or ())))):
        return False
    found = (_global(grid, name) for name in code.co_names)
    return all(value is None or _is_plain(value) for value in found)


def _is_plain(value: Any) -> bool:
    """Whether equal values have equal effects, and one that is kept keeps nothing large alive."""
    kind = type(value)
    if kind in _NUMBERS or kind in (ModuleType, BuiltinFunctionType) or isinstance(value, type):
        return True
    if kind is tuple:
        return all(map(_is_plain, value))
    if kind.__module__.partition(".")[0] == "triton":  # a function for use in kernels
        return True
    # A function that closes over nothing; what it reads of its module is taken to stay.
    return kind is FunctionType and value.__closure__ is None


def _global(grid: Any, name: str) -> Any:
    """A global that the grid may read under this name, which may be an attribute's, too."""
    if name in grid.__globals__:
        return grid.__globals__[name]
    return getattr(builtins, name, None)


def _numbers_read(grid: Any) -> list[str]:
    """The global numbers that it may read: a script may change them between launches."""
    names = dict.fromkeys(grid.__code__.co_names)
    return [name for name in names if type(grid.__globals__.get(name)) in _CHANGING]
