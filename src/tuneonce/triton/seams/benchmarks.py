"""The benchmark function of an autotuner, and ``triton.testing``, where the usual one is.

``Autotuner.do_bench`` is a cached property: what is asked once is left on the autotuner. It returns
what the author gave (``_do_bench``), else what the active driver says.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import FunctionType
from typing import Any

from . import autotuners
from .seam import Feature, Finding, Seam, as_read, can_be_called, follow

TESTING = "triton.testing"


def given(autotuner: Any) -> Any:
    """What the kernel's author gave, or Triton made of outdated options; None for nothing."""
    return vars(autotuner).get("_do_bench")


def asked(autotuner: Any) -> Any:
    """What Triton, or a program, has left on the autotuner; what was given where nothing is."""
    return vars(autotuner).get("do_bench", given(autotuner))


def function(autotuner: Any) -> Any:
    """What ``_bench`` would measure with, which stays on the autotuner; None where that raises."""
    try:
        return autotuner.do_bench
    except Exception:  # and raises again where it is asked
        return None


def is_asked_as_by_triton(kind: type) -> bool:
    """Whether a class of autotuners finds its function by Triton's own property."""
    attribute = inspect.getattr_static(kind, "do_bench", None)
    function = attribute.func if isinstance(attribute, cached_property) else None
    return is_made_by_autotuner(function)


@contextmanager
def replaced(autotuner: Any, function: Callable[..., Any]) -> Iterator[None]:
    """The autotuner measures with `function` meanwhile; the caller holds its lock."""
    own = vars(autotuner)
    before = own.get("do_bench")
    own["do_bench"] = function
    try:
        yield
    finally:
        if before is None:
            own.pop("do_bench", None)
        else:
            own["do_bench"] = before


def is_made_by_autotuner(function: Any) -> bool:
    """Whether a function was made in the autotuner's module, which wraps others."""
    return _is_of(function, autotuners.MODULE)


def is_tritons_do_bench(function: Any) -> bool:
    """Whether it is ``triton.testing.do_bench``, as installed."""
    return _is_of(function, TESTING) and function.__code__.co_name == "do_bench"


def is_of_testing(function: Any) -> bool:
    """Whether it is any function of that module."""
    return _is_of(function, TESTING)


def usual() -> Any:
    """What is in the place of ``triton.testing.do_bench``; None where that is not loaded."""
    return getattr(sys.modules.get(TESTING), "do_bench", None)


def _is_of(function: Any, module: str) -> bool:
    """Whether a function was made in a module of Triton's, whatever `functools.wraps` says."""
    if not isinstance(function, FunctionType) or module not in sys.modules:
        return False
    return function.__globals__ is vars(sys.modules[module])


def _is_programs() -> bool:
    """Whether a program has put something of its own in the place of Triton's property.

    That is the program's benchmark function, and says nothing about Triton.
    """
    attribute = inspect.getattr_static(follow(autotuners.MODULE, "Autotuner"), "do_bench", None)
    function = getattr(attribute, "func", getattr(attribute, "fget", attribute))
    return function is not None and not is_made_by_autotuner(function)


def _keeps_what_is_given() -> Finding:
    one = None if _is_programs() else autotuners.sample(do_bench=_marker)
    if one is None:
        return Finding.AS_READ
    if given(one) is not _marker:
        return Finding.ABSENT
    return as_read(one.do_bench is _marker and asked(one) is _marker)


def _asks_what_is_left() -> Finding:
    one = None if _is_programs() else autotuners.sample()
    if one is None:
        return Finding.AS_READ
    with replaced(one, _marker):
        return as_read(one.do_bench is _marker)


def _marker() -> None:
    """A benchmark function that is given to be found again."""


# Whose function it was is a part of what is stored.
_TELLING = (Feature.BENCHMARKS, Feature.DEVICE_TIMER, Feature.RESULTS)

SEAMS = (
    Seam(
        "Autotuner._do_bench",
        autotuners.MODULE,
        _TELLING,
        "the function that the kernel's author gave, which is asked and not replaced",
        _keeps_what_is_given,
        names=("_do_bench",),
    ),
    Seam(
        "Autotuner.do_bench",
        autotuners.MODULE,
        (*_TELLING, Feature.NUMERICS),
        "is asked by `_bench`, and replaced to get what it would measure",
        _asks_what_is_left,
        words=("do_bench",),
    ),
    Seam(
        "triton.testing.do_bench",
        TESTING,
        _TELLING,
        "what a race stands for, unless it was replaced",
        can_be_called(TESTING, "do_bench", "fn", quantiles="quantiles"),
    ),
)
