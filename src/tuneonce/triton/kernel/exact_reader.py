"""What decides a launch's candidate where nothing is measured, read of each launch, and all of it.

Where a wrong size costs time and nothing else, the call's numbers stand for a launch's size, and
may be those of another that is about as large (`sizes`). Here launches of equal readings must have
equal sizes, whichever came first. So what the grid reads counts, as it is; where it cannot be known
that this is all, nothing is read, and the grid is evaluated in each launch.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from ...model.key import work_class
from ..seams import kernels
from .grid import elements as elements_of
from .grid import product
from .identity import NoIdentity, innermost
from .sizes import SizeOf, is_plain, is_shape, places, tuple_of, whole

_NUMBERS = (int, bool, str, float)
# Of a launch's options these say nothing about what is compiled.
_NO_CONSTANTS = frozenset(("grid", "warmup"))


class Needs(NamedTuple):
    """What tells the launches of one key apart, beside constants."""

    programs: bool = False
    elements: bool = False
    arguments: bool = False
    """Its list is pruned by the launch: all that a launch is given counts."""

    def and_also(self, other: Needs) -> Needs:
        return Needs(*(mine or theirs for mine, theirs in zip(self, other, strict=True)))


def constant_names(fn: Any) -> frozenset[str]:
    """The parameters of a kernel that are constants of its code, under all that wraps it."""
    try:
        signature = kernels.signature(innermost(fn), None)
    except NoIdentity:
        return frozenset()
    parameters: Mapping[str, inspect.Parameter] = getattr(signature, "parameters", {})
    return frozenset(name for name, one in parameters.items() if "constexpr" in str(one.annotation))


def constants_of(
    autotuner: Any, names: frozenset[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The constants of a launch that are not in its key, with what it passes to the compiler.

    A candidate that runs with some may not run with others. Without what cannot be kept.
    """
    given = {**dict(zip(autotuner.arg_names, args, strict=False)), **kwargs}
    told = _constants(autotuner, names, given)
    return tuple((name, given[name]) for name in sorted(told) if is_plain(given[name]))


def _constants(autotuner: Any, names: frozenset[str], given: Mapping[str, Any]) -> Iterator[str]:
    for name in given:
        if name in autotuner.arg_names:
            if name in names and name not in autotuner.keys:
                yield name
        elif name not in _NO_CONSTANTS:
            yield name


class ExactReader(NamedTuple):
    """What finds out all that decides of calls of one shape, with grids of one code."""

    of: SizeOf
    """What it reads of a call; None of another function's grid. It may raise for arguments of other
    types."""
    given: Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]
    """What the grid reads of a call's arguments."""
    constants: int
    """How many of the first readings are constants."""
    elements: slice
    """Which of them say how large tensors are."""

    def class_of(
        self, found: Any, first: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str:
        """The work class of a call of which `found` was read, as `size_of` finds it. `first`: the
        values of the first candidate. Raises where the grid reads more than in other calls."""
        grid = kwargs["grid"]
        if type(grid) is not tuple:
            grid = grid(_Given(self.given(args, kwargs), **first))
        return work_class(product(grid), max(found[self.elements], default=None))


class _Given(dict[str, Any]):
    """What a grid is called with: it holds all that it is known to read, and has no word of
    anything else."""

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        raise KeyError(name)

    def _is_not_known(self, *_: Any) -> Any:
        raise KeyError

    __iter__ = keys = values = items = copy = __len__ = _is_not_known


def exact_reader(
    autotuner: Any,
    needs: Needs,
    names: frozenset[str],
    read: frozenset[str] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> ExactReader | None:
    """The reader for calls like this one; None if what decides is not known.

    `names`: the kernel's constants; `read`: the arguments that the grid reads (`sizes.Size`).
    """
    grid, shape = kwargs.get("grid"), (len(args), *kwargs)
    given = {**dict(zip(autotuner.arg_names, args, strict=False)), **kwargs}
    where = places(autotuner, shape)
    where.update((name, f"kwargs[{name!r}]") for name in kwargs)
    constants = sorted(_constants(autotuner, names, given))
    items = [where[name] for name in constants]
    told: set[str] = set()
    ours = ""
    if needs.programs:
        if read is None or not read <= where.keys():
            return None
        told |= read
        if type(grid) is tuple:
            items.append("kwargs['grid']")
        elif type(grid) is FunctionType and stays(grid):
            items += [f"grid.__closure__[{i}].cell_contents" for i in _cells(grid)]
            items += [f"grid.__globals__[{name!r}]" for name in _values_read(grid)]
            items += ["grid.__defaults__"] if grid.__defaults__ else []
            ours = " if (grid := kwargs['grid']).__code__ is code else None"
        else:
            return None
    if needs.arguments:
        told |= {n for n in where if n not in _NO_CONSTANTS and not _has_a_shape(given[n])}
        items += [f"shape_of({where[n]})" for n in where if _has_a_shape(given[n])]
    before = len(items)
    if needs.elements:
        for name, value in given.items():
            if name == "grid" or type(value) in _NUMBERS:
                continue
            items.append(_count_of(where[name], value))
    elements = slice(before, len(items))
    # What it was tuned by is equal in all launches of the key.
    rest = (name for name in sorted(told) if name not in autotuner.keys and name not in constants)
    items += [where[name] for name in rest]
    if not items:
        return ExactReader(whole, whole, 0, elements)
    scope = {"code": getattr(grid, "__code__", None), "shape_of": _shape_of, "count": elements_of}
    pairs = ", ".join(f"{name!r}: {where[name]}" for name in sorted(read or ()))
    return ExactReader(
        eval(f"lambda args, kwargs: {tuple_of(items)}{ours}", scope),
        eval(f"lambda args, kwargs: {{{pairs}}}", {}),
        len(constants),
        elements,
    )


def _count_of(place: str, value: Any) -> str:
    """What says how many elements a value has, if any: torch knows it without making a shape."""
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "numel"):
        return f"{place}.numel()"
    return f"(0 if {place} is None else count(({place},)) or 0)"


_PLAIN = frozenset((*_NUMBERS, type(None)))


def may_be_kept(found: Any) -> bool:
    """Whether what a reader has found may be compared with what it finds of other launches."""
    if not isinstance(found, tuple):
        return False
    if _PLAIN.issuperset(map(type, found)):
        return True
    return all(is_plain(one) or is_shape(one) for one in found)


def _shape_of(value: Any) -> Any:
    shape = getattr(value, "shape", None)
    return tuple(shape) if type(shape) is list else shape


def _has_a_shape(value: Any) -> bool:
    return is_shape(_shape_of(value))


# -- what a grid finds beside its argument ---------------------------------------------------------


def _cells(grid: Any) -> range:
    return range(len(grid.__closure__ or ()))


def _values_read(grid: Any) -> list[str]:
    """The global values that it may read: a program may change them between launches."""
    names = dict.fromkeys(grid.__code__.co_names)
    return [name for name in names if _is_value(grid.__globals__.get(name, ModuleType))]


def _is_value(found: Any) -> bool:
    return found is None or isinstance(found, (*_NUMBERS, tuple))


def stays(grid: Any) -> bool:
    """Whether what a grid reads in modules, and the functions that it calls, is taken to stay: that
    is code and no value."""
    found = {name: _global(grid, name) for name in grid.__code__.co_names}
    others = {name: value for name, value in found.items() if not _is_value(value)}
    return _stay(grid.__code__, others, depth=3)


def _stay(code: CodeType, found: Mapping[str, Any], depth: int) -> bool:
    owners = [value for value in found.values() if _is_owner(value)]
    values = [value for value in found.values() if not _is_owner(value)]
    for owner in owners:  # grows
        for name in code.co_names:
            value = inspect.getattr_static(owner, name, _NOTHING)
            if _is_owner(value):
                owners += [value] if all(value is not one for one in owners) else []
            elif value is not _NOTHING:
                values.append(value)
    return all(_is_code(value, depth) for value in values)


_NOTHING = object()


def _is_owner(value: Any) -> bool:
    """Whether a name in a grid may be that of something that it holds."""
    if isinstance(value, type):
        return value.__module__ != "builtins"
    return type(value) is ModuleType


def _is_code(value: Any, depth: int) -> bool:
    kind = type(value)
    if value is _NOTHING or isinstance(value, type):
        return True
    if kind is BuiltinFunctionType:
        return value.__self__ is None or type(value.__self__) is ModuleType
    if kind.__module__.partition(".")[0] == "triton":  # a function for use in kernels
        return True
    if kind is not FunctionType:
        return False
    if (value.__module__ or "").partition(".")[0] == "triton":
        return True
    if depth == 0 or value.__closure__ or value.__defaults__ or value.__kwdefaults__:
        return False
    called = {name: _global(value, name) for name in value.__code__.co_names}
    return _stay(value.__code__, called, depth - 1)


def _global(function: Any, name: str) -> Any:
    """A global that a function may read under this name, which may be an attribute's, too."""
    if name in function.__globals__:
        return function.__globals__[name]
    return getattr(builtins, name, _NOTHING)
