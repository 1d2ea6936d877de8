"""What stands between an autotuner and its kernel: ``@heuristics``, or the program's object."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .seam import Feature, Finding, Seam, as_read, follow

_AUTOTUNER = "triton.runtime.autotuner"

# What runs a kernel or passes a call on, by module: the classes whose `run` honours ``warmup``.
_TRITONS = {
    _AUTOTUNER: ("Heuristics",),
    "triton.runtime.jit": ("JITFunction",),
    "triton.runtime.interpreter": ("InterpretedFunction",),
}


def has_tritons_run(fn: Any) -> bool:
    """Whether an object is of Triton's own, with Triton's own `run`."""
    if "run" in getattr(fn, "__dict__", {}):
        return False
    for module, names in _TRITONS.items():
        scope = vars(sys.modules[module]) if module in sys.modules else {}
        for name in names:
            kind = scope.get(name)
            if isinstance(kind, type) and isinstance(fn, kind):
                run = getattr(type(fn), "run", None)
                # Not by __module__, which functools.wraps copies.
                return run is vars(kind).get("run") and getattr(run, "__globals__", None) is scope
    return False


def heuristics(fn: Any) -> dict[str, Any] | None:
    """What ``@heuristics`` computes, by name; None for what is no such wrapper."""
    values = getattr(fn, "values", None)
    return values if isinstance(values, dict) else None


def over_another(fn: Any, wrap: Callable[[Any], Any]) -> Any:
    """A copy of a ``@heuristics`` wrapper around `wrap(what is inside)`; None for any other."""
    kind = sys.modules[_AUTOTUNER].Heuristics
    if type(fn) is not kind:
        return None
    wrapper = object.__new__(kind)
    vars(wrapper).update(vars(fn), fn=wrap(fn.fn))
    return wrapper


def _heuristics() -> Finding:
    kind: Any = follow(_AUTOTUNER, "Heuristics")
    if getattr(kind.__init__, "__globals__", None) is not vars(sys.modules[_AUTOTUNER]):
        return Finding.AS_READ  # a program's own: what making one does is not known
    given: dict[str, Any] = {}
    one = kind(None, ["x"], given)
    return as_read(vars(one).get("values") is given and "fn" in vars(one) and "run" in vars(kind))


SEAMS = (
    Seam(
        "Heuristics.values, fn",
        _AUTOTUNER,
        (Feature.RESULTS, Feature.COMPILE_POOL, Feature.COMPILE_AHEAD, Feature.WARMUP),
        "what a grid may read, and what passes a call on",
        _heuristics,
        names=("Heuristics",),
        words=("values",),
    ),
)
