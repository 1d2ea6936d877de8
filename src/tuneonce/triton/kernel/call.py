"""How one autotuner is called: its keys, its known winners, and a view of it to ask with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...model.key import KernelId
from ...system.forks import renew_in_child
from ..seams import compat
from . import device_facts
from .identity import NoIdentity


class State:
    """What the hook keeps for one autotuner."""

    __slots__ = ("__weakref__", "first_product", "identity", "lock", "ours", "shapes", "undecided")

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)
        self.shapes: dict[tuple[Any, ...], tuple[Any, KeyOf, dict[Any, Entry]]] = {}
        # What the store said of keys that were met in launches which decide nothing.
        self.undecided: dict[tuple[Any, ...], Any] = {}
        self.identity: KernelId | NoIdentity | None = None
        # Where the GPUs are of several products: that of the first launch. And what was put into
        # the autotuner's cache by us.
        self.first_product: Any = None
        self.ours: dict[tuple[Any, ...], Any] = {}

    def renew(self) -> None:
        # A fresh one in a forked child, where the thread that tunes does not exist.
        self.lock = threading.RLock()

    def __reduce__(self) -> tuple[type[State], tuple[()]]:
        return State, ()  # a deep copy of an autotuner learns for itself


@dataclass(frozen=True)
class Cold:
    """One launch of an autotuner whose key this process does not know yet.

    `nargs` are the positional arguments by name, `stock_key` is Triton's key for the launch.
    `together`: the kernel's own benchmark function may wait for other ranks, so that all must call
    it equally often, whatever their stores know.
    """

    autotuner: Any
    state: State
    stock_key: tuple[Any, ...]
    nargs: dict[str, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    together: bool = False


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
    plain = type(config).__module__ == compat.AUTOTUNER_MODULE and "all_kwargs" not in seen
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


def held(cache: Any, stock_key: tuple[Any, ...]) -> Any:
    """What a cache of somebody's holds, asked as Triton asks it: it may answer for more keys."""
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
    return (kind.__module__, kind.__name__) == ("triton.language.core", "dtype")


@contextmanager
def arguments_of(autotuner: Any, nargs: dict[str, Any]) -> Iterator[None]:
    """Triton's methods take the call's arguments from the autotuner; hold its lock around this."""
    before = autotuner.__dict__.get("nargs")
    autotuner.nargs = nargs
    try:
        yield
    finally:
        autotuner.nargs = before


def view_of(autotuner: Any, nargs: dict[str, Any]) -> Any:
    """The same autotuner to ask questions with, while other threads use the real one.

    Triton's methods take the call's arguments from the autotuner and leave their results there.
    """
    # Not copy.copy, which leaves a mark on Triton's class.
    view = object.__new__(type(autotuner))
    vars(view).update(vars(autotuner), nargs=nargs, cache={})
    vars(view).pop("configs_timings", None)
    return view


def call_pre_hook(
    autotuner: Any, config: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    nargs = dict(zip(autotuner.arg_names, args, strict=False))
    config.pre_hook({**nargs, **kwargs, **config.all_kwargs()})


def launch(autotuner: Any, config: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The end of ``Autotuner.run``, once the winner is known."""
    autotuner.best_config = config
    if config.pre_hook is not None:
        call_pre_hook(autotuner, config, args, kwargs)
    return autotuner.fn.run(*args, **kwargs, **config.all_kwargs())


def stock_key_of(autotuner: Any, nargs: dict[str, Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The key under which Triton keeps a winner in ``Autotuner.cache``."""
    arg_names = autotuner.arg_names
    arguments = {k: v for k, v in {**nargs, **kwargs}.items() if k in arg_names}
    key = [arguments[name] for name in autotuner.keys if name in arguments]
    key += [str(arg.dtype) for arg in arguments.values() if hasattr(arg, "dtype")]
    return tuple(key)


def cache_key_of(autotuner: Any, state: State, stock_key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key under which a winner is kept in ``Autotuner.cache`` for the current device.

    That is Triton's own, but on GPUs of other products than the one that the kernel was first
    launched on, where a process has several: a winner may not even run on them. What the program
    itself has put under Triton's key holds for all, as with stock.
    """
    if not device_facts.products():
        return stock_key
    product = device_facts.product()
    if state.first_product is None:
        state.first_product = product
    if product is state.first_product:
        return stock_key
    if stock_key in autotuner.cache:
        config = autotuner.cache[stock_key]
        if state.ours.get(stock_key) is not config:
            return stock_key
    return (*stock_key, product)
