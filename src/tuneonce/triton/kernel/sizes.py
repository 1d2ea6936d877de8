"""How large a launch is: its grid, evaluated once for all launches that it cannot tell apart.

A grid is most often a function of what it closes over and of some numbers among the arguments.
Evaluating it takes longer than all else of a launch of a known key, so the size is remembered by
what the grid has read: `Size.read` names the arguments, the rest is found in the function. Where
that cannot be known, in a grid that reads a tensor or an object, the call's whole numbers and the
shapes of its tensors stand for it (`argument_reader`).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from .grid import product, programs

SizeOf = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""What tells the sizes of a key's launches apart, of one launch."""

_NUMBERS = frozenset((int, bool, str, float, type(None)))
_CHANGING = (int, bool, str, float, tuple)


class Size(NamedTuple):
    """`programs` of a launch, None if unknown. `read`: the arguments that decide it beside what
    the grid itself holds; None if it is not known what decides it."""

    programs: int | None
    read: frozenset[str] | None


def size_of(
    autotuner: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    first: Mapping[str, Any],
    *,
    code: CodeType | None = None,
) -> Size:
    """The size of one launch with `first`, the values of the kernel's first candidate.

    `code` is that of grids for which there is a reader already. What one of them holds is not
    looked at: `are_plain` says whether what the reader finds may be kept. Raises nothing.
    """
    grid = kwargs.get("grid")
    if type(grid) is tuple:
        plain = all(type(size) is int for size in grid)
        return Size(product(grid), frozenset() if plain else None)
    if not callable(grid):
        return Size(product(grid), None)
    meta = _Meta(zip(autotuner.arg_names, args, strict=False))
    meta.update(kwargs)
    meta.update(first)
    read: set[str] = set()
    meta.read = read
    try:
        sizes = grid(meta)
    except Exception:  # it reads what only Triton knows: a default, a heuristic
        nargs = dict(zip(autotuner.arg_names, args, strict=False))
        return Size(programs(autotuner, nargs, kwargs), None)
    read.difference_update(first)
    is_known = (
        (not read or _are_numbers(meta, read))
        and type(grid) is FunctionType
        and (grid.__code__ is code or _is_known_code(grid))
    )
    return Size(product(sizes), frozenset(read) if is_known else None)


def size_reader(
    autotuner: Any, shape: tuple[Any, ...], grid: Any, read: frozenset[str]
) -> SizeOf | None:
    """A function that reads what decides the size of calls of one shape, with grids like this one;
    None if there is nothing to tell them apart by.

    `shape`: the number of positional arguments and the names of the others. It is compiled from a
    line of source, because it runs in every launch. Of another function's grid it finds None, and
    it may raise for another kind of grid.
    """
    if type(grid) is tuple:
        return _of_tuple
    names = list(autotuner.arg_names)
    where = {name: f"args[{i}]" for i, name in enumerate(names[: shape[0]])}
    where.update((name, f"kwargs[{name!r}]") for name in shape[1:])
    if not read <= where.keys():
        return None
    items = ["grid.__defaults__"] if grid.__defaults__ else []
    items += [f"grid.__closure__[{i}].cell_contents" for i in range(len(grid.__closure__ or ()))]
    items += [f"grid.__globals__[{name!r}]" for name in _numbers_read(grid)]
    items += [where[name] for name in sorted(read)]
    size = f"({', '.join(items)},)" if items else "()"
    # Of any other grid nothing is remembered.
    source = f"lambda args, kwargs: {size} if (grid := kwargs['grid']).__code__ is code else None"
    found: SizeOf = eval(source, {"code": grid.__code__})
    return found


def argument_reader(
    autotuner: Any, shape: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> SizeOf:
    """A function that reads the whole numbers and the shapes among the arguments of calls like
    this one: whatever the grid reads, launches that are alike in these are of one size.

    It may raise for a call whose arguments are of other types.
    """
    names = list(autotuner.arg_names)
    where = [(f"args[{i}]", value) for i, value in enumerate(args[: len(names)])]
    where += [(f"kwargs[{name!r}]", kwargs[name]) for name in shape[1:] if name in names]
    items = [place for place, value in where if type(value) is int]
    items += [f"{place}.shape" for place, value in where if _is_shape(getattr(value, "shape", 0))]
    found: SizeOf = eval(f"lambda args, kwargs: ({''.join(f'{item}, ' for item in items)})", {})
    return found


def whole(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """All launches of a key are alike."""
    return None


def _of_tuple(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kwargs["grid"]


# Among what is read, in place of a name: perhaps all of it.
_ALL = "*"


class _Meta(dict[str, Any]):
    """What a grid is called with; remembers what is read."""

    __slots__ = ("read",)

    read: set[str]

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            return self[name]
        return default

    def __iter__(self) -> Iterator[str]:
        self.read.add(_ALL)
        return super().__iter__()

    def keys(self) -> Any:
        self.read.add(_ALL)
        return super().keys()

    def values(self) -> Any:
        self.read.add(_ALL)
        return super().values()

    def items(self) -> Any:
        self.read.add(_ALL)
        return super().items()

    def copy(self) -> dict[str, Any]:
        self.read.add(_ALL)
        return super().copy()


def are_plain(found: tuple[Any, ...]) -> bool:
    """Whether all that a reader has found of a launch may be kept, to be compared with others'."""
    return _NUMBERS.issuperset(map(type, found)) or all(map(_is_plain, found))


def are_whole(found: tuple[Any, ...]) -> bool:
    """The same of what a reader of arguments has found."""
    return all(type(one) is int or _is_shape(one) for one in found)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(size) is int for size in value)


def _are_numbers(meta: _Meta, read: set[str]) -> bool:
    return _ALL not in read and all(type(dict.get(meta, name)) in _NUMBERS for name in read)


def _is_known_code(grid: Any) -> bool:
    """Whether all that a grid reads beside its argument are plain values, of its own or global."""
    if grid.__kwdefaults__ or grid.__dict__:
        return False
    try:
        cells = [cell.cell_contents for cell in grid.__closure__ or ()]
    except ValueError:  # it is empty
        return False
    if not are_plain((*cells, *(grid.__defaults__ or ()))):
        return False
    code = grid.__code__
    if any(isinstance(constant, CodeType) for constant in code.co_consts):
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
