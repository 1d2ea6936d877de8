"""Which function stock Triton would measure a kernel's candidates with, and whose it is.

Triton takes, in this order, what stands on the autotuner or its class as ``do_bench``, the function
that the kernel's author gave, and the active driver's, which for most is ``triton.testing``'s. A
program may replace any of them: what it put there is asked, and decides.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType
from typing import Any, Literal

from ..seams import benchmarks, drivers, probing
from ..seams.seam import Feature

Whose = Literal["tritons", "drivers", "own"]


def whose_benchmark(autotuner: Any) -> Whose:
    """``tritons``: its ``do_bench``, as installed. ``drivers``: a backend has one of its own.

    ``own``: the kernel's author or the program gave it. Triton makes one itself of its outdated
    options ``warmup``, ``rep`` and ``use_cuda_graph``, which counts as a driver's.
    """
    if probing.missing(Feature.BENCHMARKS):  # whosever it is, it is asked and answers for itself
        return "own"
    if not benchmarks.is_asked_as_by_triton(type(autotuner)):
        return "own"
    given, function = benchmarks.given(autotuner), benchmarks.asked(autotuner)
    by_autotuner = benchmarks.is_made_by_autotuner
    if function is not None and function is given and not by_autotuner(given):
        return "own"
    active: Any = None
    if function is None:
        try:
            active = drivers.active()
            function = drivers.benchmarker(active)
        except Exception:  # no device: whatever is launched will say so
            return "drivers"
    if benchmarks.is_tritons_do_bench(function):
        return "tritons"
    if by_autotuner(function):
        asked = [benchmarks.usual(), *_closed_over(function)]
        return "drivers" if all(map(benchmarks.is_of_testing, asked)) else "own"
    return "drivers" if _is_drivers(function, active) else "own"


def own_benchmark(autotuner: Any) -> bool:
    """Whether the kernel's author or the program gave the benchmark function."""
    return whose_benchmark(autotuner) == "own"


def _closed_over(function: FunctionType) -> list[Any]:
    cells = (cell.cell_contents for cell in function.__closure__ or ())
    return [held for held in cells if callable(held)]


def _is_drivers(function: Any, active: Any) -> bool:
    """Whether a function comes from where the driver comes from."""
    try:
        home = type(drivers.active() if active is None else active).__module__
    except Exception:  # no device
        return False
    while isinstance(function, partial):
        function = function.func
    made = getattr(function, "__module__", None) or type(function).__module__
    return str(made).partition(".")[0] == home.partition(".")[0]
