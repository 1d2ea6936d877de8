"""Which function stock Triton would measure a kernel's candidates with, and whose it is.

Triton takes, in this order, what stands on the autotuner or its class as ``do_bench``, the function
that the kernel's author gave, and the active driver's, which for most is ``triton.testing``'s. A
program may replace any of them: what it put there is asked, and decides.
"""

from __future__ import annotations

import inspect
import sys
from functools import cached_property, partial
from types import FunctionType
from typing import Any, Literal

Whose = Literal["tritons", "drivers", "own"]

_AUTOTUNER, _TESTING = "triton.runtime.autotuner", "triton.testing"


def whose_benchmark(autotuner: Any) -> Whose:
    """``tritons``: its ``do_bench``, as installed. ``drivers``: a backend has one of its own.

    ``own``: the kernel's author or the program gave it. Triton makes one itself of its outdated
    options ``warmup``, ``rep`` and ``use_cuda_graph``, which counts as a driver's.
    """
    if not _is_tritons_attribute(inspect.getattr_static(type(autotuner), "do_bench", None)):
        return "own"
    given = vars(autotuner).get("_do_bench")
    # Triton leaves there what it has asked once.
    function = vars(autotuner).get("do_bench", given)
    if function is not None and function is given and not _is_of(given, _AUTOTUNER):
        return "own"
    active: Any = None
    if function is None:
        try:
            active = _driver()
            function = active.get_benchmarker()
        except Exception:  # no device: whatever is launched will say so
            return "drivers"
    if _is_of(function, _TESTING, "do_bench"):
        return "tritons"
    if _is_of(function, _AUTOTUNER):
        testing = sys.modules.get(_TESTING)
        asked = [getattr(testing, "do_bench", None), *_closed_over(function)]
        return "drivers" if all(_is_of(one, _TESTING) for one in asked) else "own"
    return "drivers" if _is_drivers(function, active) else "own"


def own_benchmark(autotuner: Any) -> bool:
    """Whether the kernel's author or the program gave the benchmark function."""
    return whose_benchmark(autotuner) == "own"


def _driver() -> Any:
    return sys.modules["triton.runtime.driver"].driver.active


def _is_tritons_attribute(attribute: Any) -> bool:
    function = attribute.func if isinstance(attribute, cached_property) else None
    return _is_of(function, _AUTOTUNER)


def _is_of(function: Any, module: str, name: str | None = None) -> bool:
    """Whether a function was made in a module of Triton's, whatever `functools.wraps` says."""
    if not isinstance(function, FunctionType) or module not in sys.modules:
        return False
    made_there = function.__globals__ is vars(sys.modules[module])
    return made_there and name in (None, function.__code__.co_name)


def _closed_over(function: FunctionType) -> list[Any]:
    cells = (cell.cell_contents for cell in function.__closure__ or ())
    return [held for held in cells if callable(held)]


def _is_drivers(function: Any, active: Any) -> bool:
    """Whether a function comes from where the driver comes from."""
    try:
        home = type(_driver() if active is None else active).__module__
    except Exception:  # no device
        return False
    while isinstance(function, partial):
        function = function.func
    made = getattr(function, "__module__", None) or type(function).__module__
    return str(made).partition(".")[0] == home.partition(".")[0]
