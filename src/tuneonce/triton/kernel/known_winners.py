"""The winners that a launch finds without asking anything: how they are kept for one autotuner.

Each call shape (the number of positional arguments and the names of the others) has a function that
reads the tuning key out of the arguments. Each key has one that reads what decides the size of a
launch, and an entry for each size: several sizes are one work class, and have one winner.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from ..seams import autotuners, languages
from . import device_facts
from .sizes import (
    Size,
    SizeOf,
    are_plain,
    are_whole,
    argument_reader,
    rounded,
    size_of,
    size_reader,
    whole,
)

KeyOf = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]]

# So many sizes of a key are remembered before all are forgotten: sizes of requests never stop.
MOST_SIZES = 4096


class Entry(NamedTuple):
    """A winner and how to launch it.

    `seen` is the winner's state when `launch`, its keyword arguments, was made from it: a program
    may change a ``Config`` in place, and stock would run the changed one. `launch` is empty for a
    subclass, which may make them of something else, and is asked at each launch. `classes` are the
    key's winners for other sizes (`key_classes`), if it has one a work class.
    """

    stock_key: tuple[Any, ...]
    config: Any
    seen: dict[str, Any]
    launch: dict[str, Any]
    classes: Any = None


class Explored(NamedTuple):
    """In a winner's place: a class whose launches tune it, and how large this launch is."""

    explored: Any
    extent: int | None


def entry_for(stock_key: tuple[Any, ...], config: Any, classes: Any = None) -> Entry:
    seen = {**config.__dict__, "kwargs": dict(config.kwargs)}
    plain = autotuners.is_tritons_config(config) and "all_kwargs" not in seen
    return Entry(stock_key, config, seen, config.all_kwargs() if plain else {}, classes)


class Known:
    """One key of one call shape: `entries` by what `size_of` reads of a launch."""

    __slots__ = ("by_arguments", "classes", "code", "entries", "of_about", "read", "size_of")

    def __init__(self, size_of: SizeOf, entries: dict[Any, Any], classes: Any = None) -> None:
        self.size_of, self.entries, self.classes = size_of, entries, classes
        self.of_about: dict[Any, Entry] = {}
        """What launches of about a size run: an entry that is not there is made of it."""
        self.read: frozenset[str] | None = None
        """The arguments that `size_of` reads."""
        self.by_arguments = False
        """Whether its grids cannot be read, and the call's numbers and shapes stand for them."""
        self.code: Any = None
        """That of the grids that `size_of` reads; None for tuples."""

    def meet(
        self, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any = None
    ) -> Entry | None:
        """What a launch runs whose size was not met; None if its class was not met either.

        `found` is what `size_of` has read of it, None if it is not known.
        Launches of its size find the entry from now on, if what decides their size is known. If
        none of about its size was met, its grid is evaluated.
        """
        if kwargs.get("warmup"):  # it decides nothing
            return None
        if self.of_about and (entry := self._about(found)) is not None:
            return entry
        size = size_of(autotuner, args, kwargs, self.classes.first, code=self.code)
        entry = self.classes.entry_of(size.work)
        if entry is not None:
            self.keep(entry, size, autotuner, args, kwargs)
        return entry

    def _about(self, found: Any) -> Entry | None:
        """What a launch of about this size ran. None where its own size is wanted, by which the
        times of launches that tune their class are compared."""
        try:
            entry = None if found is None else self.of_about.get(rounded(found))
        except Exception:  # it cannot be looked up
            return None
        if entry is None or type(entry.config) is Explored:
            return None
        self._remember(found, entry)
        return entry

    def keep(
        self,
        entry: Entry,
        size: Size,
        autotuner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Have launches of this size find an entry, if what decides their size is known."""
        read = size.read
        if read is None or self.by_arguments:
            if not callable(kwargs.get("grid")):
                return  # a list: evaluated soon enough
            self._keep_by_arguments(entry, autotuner, args, kwargs)
            return
        code = getattr(kwargs["grid"], "__code__", None)
        if self.read is None:
            reader = size_reader(autotuner, (len(args), *kwargs), read, args, kwargs)
            if reader is None:
                return
            self.size_of, self.read, self.code = reader, read, code
        if self.code is not code or not read <= self.read:
            return
        self._enter(entry, args, kwargs, are_plain)

    def _keep_by_arguments(
        self, entry: Entry, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if not self.by_arguments:
            self.size_of = argument_reader(autotuner, (len(args), *kwargs), args, kwargs)
            self.entries, self.of_about = {}, {}
            self.by_arguments, self.read, self.code = True, frozenset(), None
        self._enter(entry, args, kwargs, are_whole)

    def _enter(
        self,
        entry: Entry,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        may_be_kept: Callable[[tuple[Any, ...]], bool],
    ) -> None:
        try:
            found = self.size_of(args, kwargs)
            if may_be_kept(found):
                self._remember(found, entry)
                self._share(found, entry)
        except Exception:
            return  # another kind of grid, or of arguments

    def _share(self, found: Any, entry: Entry) -> None:
        """Have launches of about this size run it, too."""
        if len(self.of_about) >= MOST_SIZES:
            self.of_about = {}
        self.of_about[rounded(found)] = entry

    def _remember(self, found: Any, entry: Entry) -> None:
        if len(self.entries) >= MOST_SIZES:
            self.entries = {}
        self.entries[found] = entry


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
"""By call shape: what the kernel was tuned by when its function was made, that, and by key what is
known, each a `Known`."""


def remember(
    shapes: Shapes,
    autotuner: Any,
    stock_key: tuple[Any, ...],
    config: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Keep a winner for calls like this one, of all sizes; not for those that only Triton's key
    tells apart."""
    try:
        known = Known(whole, {None: entry_for(stock_key, config)})
    except (TypeError, AttributeError):
        return  # no ordinary Config: such calls go through stock's key
    _keep(shapes, autotuner, args, kwargs, known)


def known_of(
    shapes: Shapes, autotuner: Any, classes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Known:
    """What is known for calls like this one of a key that has `classes`; made if it is not there.

    Calls that only Triton's key tells apart get one of their own, which is not kept.
    """
    shape = (len(args), *kwargs)
    held = shapes.get(shape)
    if held is not None and held[0] == autotuner.keys:
        try:
            known: Known | None = held[2].get(held[1](args, kwargs))
        except (TypeError, AttributeError):
            known = None
        if known is not None and known.classes is classes:
            return known
    fresh: Known = classes.new_known()
    _keep(shapes, autotuner, args, kwargs, fresh)
    return fresh


def _keep(
    shapes: Shapes, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], known: Known
) -> None:
    shape = (len(args), *kwargs)
    held = shapes.get(shape)
    if held is None or held[0] != autotuner.keys:
        product = device_facts.product if device_facts.products() else None
        reader = key_reader(autotuner, shape, product)
        held = (copy.copy(autotuner.keys), reader, {})
        shapes[shape] = held
    _, key_of, keys = held
    try:
        if has_plain_dtypes(args, kwargs):
            keys[key_of(args, kwargs)] = known
    except (TypeError, AttributeError):
        return  # a dtype that cannot be hashed
