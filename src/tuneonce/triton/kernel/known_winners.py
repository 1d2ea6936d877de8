"""The winners that a launch finds without asking anything: how they are kept for one autotuner.

Each call shape (the number of positional arguments and the names of the others) has a function that
reads the tuning key out of the arguments, and the winners by that key.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from ..seams import autotuners, languages
from . import device_facts

KeyOf = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]]


class Entry(NamedTuple):
    """A winner and how to launch it.

    `seen` is the winner's state when `launch`, its keyword arguments, was made from it: a program
    may change a ``Config`` in place, and stock would run the changed one. `launch` is empty for a
    subclass, which may make them of something else, and is asked at each launch.
    """

    stock_key: tuple[Any, ...]
    config: Any
    seen: dict[str, Any]
    launch: dict[str, Any]


def entry_for(stock_key: tuple[Any, ...], config: Any) -> Entry:
    seen = {**config.__dict__, "kwargs": dict(config.kwargs)}
    plain = autotuners.is_tritons_config(config) and "all_kwargs" not in seen
    return Entry(stock_key, config, seen, config.all_kwargs() if plain else {})


def key_reader(
    autotuner: Any, shape: tuple[Any, ...], product: Callable[[], Any] | None = None
) -> KeyOf:
    """A function that reads the tuning key out of the arguments of one call shape.

    A call shape is the number of positional arguments and the names of the keyword arguments, in
    their order. Two calls of one shape have equal results only if Triton's keys are equal: the
    values of the ``key=`` arguments, and the dtype, if any, of every argument of the kernel; and of
    one GPU product, where `product` tells several apart. It is compiled from a line of source, as
    Triton does for its own argument binder, because this runs in every launch.
    """
    arg_names = list(autotuner.arg_names)
    where = {name: f"args[{i}]" for i, name in enumerate(arg_names[: shape[0]])}
    # A name that is no parameter of the kernel (grid, warmup, num_warps) is not tuned by.
    where.update((name, f"kwargs[{name!r}]") for name in shape[1:] if name in arg_names)
    items = [where[name] for name in autotuner.keys if name in where]
    items += [f"getattr({place}, 'dtype', none)" for place in where.values()]
    if product is not None:
        items.append("product()")
    source = f"lambda args, kwargs: ({', '.join(items)},)" if items else "lambda args, kwargs: ()"
    # Not None, which a dtype may be: Triton tells that from an argument without one.
    key_of: KeyOf = eval(source, {"getattr": getattr, "none": object(), "product": product})
    return key_of


def winner_in(cache: Any, stock_key: tuple[Any, ...]) -> Any:
    """What a cache of the program's own class holds, asked as Triton asks it: it may answer for
    keys that it does not list."""
    return cache[stock_key] if stock_key in cache else None  # noqa: SIM401 - nor by `get`


def has_plain_dtypes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether dtypes that are equal have equal texts, by which Triton tells them apart.

    1 and True have not, nor have members of two enumerations of numbers.
    """
    return all(
        _is_plain(value.dtype) for value in (*args, *kwargs.values()) if hasattr(value, "dtype")
    )


def _is_plain(dtype: Any) -> bool:
    kind: Any = type(dtype)
    if kind.__eq__ is object.__eq__ or kind is str:  # torch's among them
        return True
    if kind.__module__ == "numpy.dtypes":
        return bool(dtype.isbuiltin == 1)
    return languages.is_dtype_class(kind)


Shapes = dict[tuple[Any, ...], tuple[Any, KeyOf, dict[Any, Any]]]
"""By call shape: what the kernel was tuned by when its function was made, that, and the winners,
each an `Entry`."""


def remember(
    shapes: Shapes,
    autotuner: Any,
    stock_key: tuple[Any, ...],
    config: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Keep a winner for calls like this one; not for those that only Triton's key tells apart."""
    try:
        remember_as(shapes, autotuner, args, kwargs, entry_for(stock_key, config))
    except (TypeError, AttributeError):
        return  # no ordinary Config: such calls go through stock's key


def remember_as(
    shapes: Shapes, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], entry: Any
) -> None:
    """Keep something for calls like this one."""
    shape = (len(args), *kwargs)
    known = shapes.get(shape)
    if known is None or known[0] != autotuner.keys:
        product = device_facts.product if device_facts.products() else None
        reader = key_reader(autotuner, shape, product)
        known = (copy.copy(autotuner.keys), reader, {})
        shapes[shape] = known
    _, key_of, entries = known
    try:
        if has_plain_dtypes(args, kwargs):
            entries[key_of(args, kwargs)] = entry
    except (TypeError, AttributeError):
        return  # a dtype that cannot be hashed
