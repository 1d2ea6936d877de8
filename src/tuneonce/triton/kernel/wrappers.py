"""What stands between an autotuner and its kernel: Triton's decorators, or the program's object."""

from __future__ import annotations

import sys
from typing import Any

# What runs a kernel or passes a call on, by module: the classes whose `run` honours ``warmup``.
_TRITONS = {
    "triton.runtime.autotuner": ("Heuristics",),
    "triton.runtime.jit": ("JITFunction",),
    "triton.runtime.interpreter": ("InterpretedFunction",),
}


def honours_warmup(fn: Any) -> bool:
    """Whether ``fn.run(..., warmup=True)`` is sure to launch nothing.

    Sure are Triton's own objects with Triton's own `run`, whether it was looked up on the object
    or on its class: a wrapper of the program's may drop the argument, and then a launch is real.
    """
    for _ in range(32):
        if not _has_tritons_run(fn):
            return False
        inner = getattr(fn, "fn", None)
        if not hasattr(inner, "run"):  # the Python function
            return True
        fn = inner
    return False


def _has_tritons_run(fn: Any) -> bool:
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
