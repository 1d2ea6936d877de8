"""How one autotuner is called: Triton's key of a call, the launch, and a view of it to ask with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..seams import autotuners
from . import device_facts
from .autotuner_state import AutotunerState
from .known_winners import Entry, remember


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
    autotuners.forget_timings(view)
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


def launch_entry(
    autotuner: Any, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The same, with keyword arguments that were made of the winner before."""
    config = autotuner.best_config = entry.config
    if config.pre_hook is not None:
        call_pre_hook(autotuner, config, args, kwargs)
    return autotuner.fn.run(*args, **kwargs, **(entry.launch or config.all_kwargs()))


def launch_cached(
    autotuner: Any,
    state: AutotunerState,
    stock_key: tuple[Any, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Launch the winner that the autotuner's cache has, once the hot path knows it, too."""
    config = autotuner.cache[stock_key]
    remember(state.shapes, autotuner, stock_key, config, args, kwargs)
    return launch(autotuner, config, args, kwargs)


def stock_key_of(autotuner: Any, nargs: dict[str, Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The key under which Triton keeps a winner in ``Autotuner.cache``."""
    arg_names = autotuner.arg_names
    arguments = {k: v for k, v in {**nargs, **kwargs}.items() if k in arg_names}
    key = [arguments[name] for name in autotuner.keys if name in arguments]
    key += [str(arg.dtype) for arg in arguments.values() if hasattr(arg, "dtype")]
    return tuple(key)


def cache_key_of(
    autotuner: Any, state: AutotunerState, stock_key: tuple[Any, ...]
) -> tuple[Any, ...]:
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
        config, classes = autotuner.cache[stock_key], state.classes.get(stock_key)
        ours = state.ours.get(stock_key) is config
        if not ours and (classes is None or not classes.is_ours(config)):
            return stock_key
    return (*stock_key, product)
