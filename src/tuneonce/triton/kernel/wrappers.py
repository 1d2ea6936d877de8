"""What stands between an autotuner and its kernel: Triton's decorators, or the program's object."""

from __future__ import annotations

from typing import Any

from ..seams import probing, wrappers
from ..seams.seam import Feature


def honours_warmup(fn: Any) -> bool:
    """Whether ``fn.run(..., warmup=True)`` is sure to launch nothing.

    Sure are Triton's own objects with Triton's own `run`, whether it was looked up on the object
    or on its class: a wrapper of the program's may drop the argument, and then a launch is real.
    """
    if probing.missing(Feature.WARMUP):
        return False
    for _ in range(32):
        if not wrappers.has_tritons_run(fn):
            return False
        inner = getattr(fn, "fn", None)
        if not hasattr(inner, "run"):  # the Python function
            return True
        fn = inner
    return False
