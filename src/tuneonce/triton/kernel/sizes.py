"""How large a launch is: its grid, evaluated once for all launches that are of about one size.

A grid is most often a function of what it closes over and of some numbers among the arguments.
Evaluating it takes longer than all else of a launch of a known key, so the size is remembered by
what the grid has read (`Size.read` names the arguments, the rest is found in the function) and by
the other whole numbers among the arguments: a kernel whose grid does not vary is told by them how
much there is to do. What the key holds is equal in all its launches and not read, nor are strides,
which follow from sizes.

Where what a grid reads cannot be known, as of one that reads a tensor or an object, the call's
whole numbers and the shapes of its tensors stand for it (`argument_reader`).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from ...model.key import Work
from .grid import elements, product, programs

SizeOf = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""What tells the sizes of a key's launches apart, of one launch."""

_NUMBERS = frozenset((int, bool, str, float, type(None)))
_CHANGING = (int, bool, str, float, tuple)


# Whole numbers up to here stand for themselves, larger ones for those with the same first five
# binary digits. Powers of two, where classes mostly end, are rounded to themselves.
_EXACT = 32
_DIGITS = 5


def rounded(found: Any) -> Any:
    """What a reader has found of a launch, the same for launches of about one size.

    Lengths of requests never stop: launches whose sizes differ by less than a sixteenth are taken
    for one, the first of them.
    """
    if type(found) is int:
        if -_EXACT < found < _EXACT:
            return found
        shift = found.bit_length() - _DIGITS
        return found >> shift << shift
    if isinstance(found, tuple):
        return tuple(map(rounded, found))
    return found


class Size(NamedTuple):
    """How much a launch has to do. `read`: the arguments that decide it beside what the grid itself
    holds; None if it is not known what decides it."""

    work: Work
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
    grid, largest = kwargs.get("grid"), elements((*args, *kwargs.values()))
    if type(grid) is tuple:
        plain = all(type(size) is int for size in grid)
        return Size(Work(product(grid), largest), frozenset() if plain else None)
    if not callable(grid):
        return Size(Work(product(grid), largest), None)
    meta = _Meta(zip(autotuner.arg_names, args, strict=False))
    meta.update(kwargs)
    meta.update(first)
    read: set[str] = set()
    meta.read = read
    try:
        sizes = grid(meta)
    except Exception:  # it reads what only Triton knows: a default, a heuristic
        nargs = dict(zip(autotuner.arg_names, args, strict=False))
        return Size(Work(programs(autotuner, nargs, kwargs), largest), None)
    read.difference_update(first)
    is_known = (
        (not read or _are_numbers(meta, read))
        and type(grid) is FunctionType
        and (grid.__code__ is code or _is_known_code(grid))
    )
    return Size(Work(product(sizes), largest), frozenset(read) if is_known else None)


def size_reader(
    autotuner: Any,
    shape: tuple[Any, ...],
    read: frozenset[str],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> SizeOf | None:
    """A function that reads what decides the size of calls like this one, with grids like its own;
    None if there is nothing to tell them apart by.

    `shape`: the number of positional arguments and the names of the others. It is compiled from a
    line of source, because it runs in every launch. Of another function's grid it finds None, and
    it may raise for another kind of grid.
    """
    grid = kwargs["grid"]
    where = places(autotuner, shape)
    if not read <= where.keys():
        return None
    values = {**dict(zip(autotuner.arg_names, args, strict=False)), **kwargs}
    told = (name for name in where if type(values[name]) is int and not _is_stride(name))
    # What it was tuned by is equal in all launches of the key.
    names = dict.fromkeys((*sorted(read), *told))
    items = [where[name] for name in names if name not in autotuner.keys]
    if type(grid) is tuple:
        items.insert(0, "kwargs['grid']")
        source = f"lambda args, kwargs: {tuple_of(items)}"
    else:
        cells = range(len(grid.__closure__ or ()))
        items += [f"grid.__closure__[{i}].cell_contents" for i in cells]
        items += [f"grid.__globals__[{name!r}]" for name in _numbers_read(grid)]
        items += ["grid.__defaults__"] if grid.__defaults__ else []
        # Of any other grid nothing is remembered.
        ours = "(grid := kwargs['grid']).__code__ is code"
        source = f"lambda args, kwargs: {tuple_of(items)} if {ours} else None"
    code = getattr(grid, "__code__", None)
    found: SizeOf = eval(source, {"code": code})
    return found


def places(autotuner: Any, shape: tuple[Any, ...]) -> dict[str, str]:
    """Where calls of this shape have the kernel's arguments, by name."""
    names = list(autotuner.arg_names)
    where = {name: f"args[{i}]" for i, name in enumerate(names[: shape[0]])}
    where.update((name, f"kwargs[{name!r}]") for name in shape[1:] if name in names)
    return where


def tuple_of(places: list[str]) -> str:
    return f"({''.join(f'{place}, ' for place in places)})"


def _is_stride(name: str) -> bool:
    return "stride" in name.lower()


def argument_reader(
    autotuner: Any, shape: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> SizeOf:
    """A function that reads the whole numbers and the shapes among the arguments of calls like
    this one: whatever the grid reads, launches that are alike in these are of one size.

    It may raise for a call whose arguments are of other types.
    """
    values = {**dict(zip(autotuner.arg_names, args, strict=False)), **kwargs}
    where = [(place, values[name]) for name, place in places(autotuner, shape).items()]
    items = [place for place, value in where if type(value) is int]
    items += [f"{place}.shape" for place, value in where if is_shape(getattr(value, "shape", 0))]
    found: SizeOf = eval(f"lambda args, kwargs: {tuple_of(items)}", {})
    return found


def whole(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """All launches of a key are alike."""
    return None


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
    return _NUMBERS.issuperset(map(type, found)) or all(map(is_plain, found))


def are_whole(found: tuple[Any, ...]) -> bool:
    """The same of what a reader of arguments has found."""
    return all(type(one) is int or is_shape(one) for one in found)


def is_shape(value: Any) -> bool:
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
    return all(value is None or is_plain(value) for value in found)


def is_plain(value: Any) -> bool:
    """Whether equal values have equal effects, and one that is kept keeps nothing large alive."""
    kind = type(value)
    if kind in _NUMBERS or kind in (ModuleType, BuiltinFunctionType) or isinstance(value, type):
        return True
    if kind is tuple:
        return all(map(is_plain, value))
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
