"""A kernel of ours, made by Triton as it makes a program's, to look at.

It is never launched or compiled. It is made when a probe first needs it, and kept. A kernel of the
program's would not do: the program may have put anything on it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from .seam import Finding, as_read

_MODULE = "triton.runtime.jit"

TEXT = "def _sample(x):\n    x + CONSTANT\n"
"""The text that Triton compiles, from ``def`` on."""

CONSTANT: Any = 0


def _sample(x):
    x + CONSTANT


def kernel() -> Any:
    """One kernel; None where a program makes kernels its own way.

    Asking that one for another would run the program's code. Raises what Triton raises.
    """
    kind = sys.modules[_MODULE].JITFunction
    return _of(kind) if is_made_by_triton(kind) else None


def is_made_by_triton(kind: Any) -> bool:
    """Whether making an object of a class of kernels runs Triton's code and no program's."""
    return getattr(kind.__init__, "__globals__", None) is vars(sys.modules[_MODULE])


@functools.lru_cache(maxsize=1)
def _of(kind: type) -> Any:
    return make(kind, _sample)


def make(kind: Any, function: Any) -> Any:
    """A kernel of a function, which Triton does not remember (from 3.5 on, it keeps a list)."""
    one = kind(function)
    known = vars(sys.modules[_MODULE]).get("_triton_jit_function_registry", {})
    known.pop(f"{function.__module__}:{function.__qualname__}", None)
    return one


def with_constant(value: Any) -> FunctionType:
    """The sample's function, where its global has this value."""
    scope = {**globals(), "CONSTANT": value}
    return FunctionType(_sample.__code__, scope, _sample.__name__)


def holds(name: str, kind: type | None = None) -> Callable[[], Finding]:
    """A probe: whether a kernel has an attribute of its own of this name, and of this kind."""

    def probe() -> Finding:
        one = kernel()
        if one is None:
            return Finding.AS_READ
        if name not in vars(one):
            return Finding.ABSENT
        return as_read(kind is None or isinstance(vars(one)[name], kind))

    return probe
