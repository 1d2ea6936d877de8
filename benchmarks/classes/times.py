"""Every candidate of every kernel at every size: how long, and of how much work the launch was.

It stands in ``Autotuner._bench``, where stock Triton measures one candidate of a key. Before each
size all winners are forgotten, so each key of a size is measured once, at its first launch.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from fla_workload import tuning_key

WARMUP_MS = 5
REP_MS = 20
_NEVER = [math.inf] * 3


class NoTimeLeft(Exception):
    """A candidate came up after the time in which candidates are measured."""


class Table:
    """By kernel and key: of each candidate milliseconds by size, and of each size the launch.

    A launch is told by its number of programs under the first candidate, the integers that it was
    given, and the number of elements of its largest tensor. A launch whose candidate comes up after
    `until`, on the clock `time.monotonic`, raises `NoTimeLeft`.
    """

    def __init__(self, *, until: float) -> None:
        self.kernels: dict[str, dict[str, dict[str, Any]]] = {}
        self.size = ""
        self._until = until

    def install(self) -> None:
        from triton.runtime.autotuner import Autotuner

        stock = Autotuner._bench

        def bench(tuner: Any, *args: Any, config: Any, **meta: Any) -> Any:
            return self._bench(stock, tuner, args, config, meta)

        Autotuner._bench = bench

    def _bench(self, stock: Any, tuner: Any, args: Any, config: Any, meta: dict[str, Any]) -> Any:
        if time.monotonic() > self._until:
            raise NoTimeLeft
        keys = self.kernels.setdefault(tuner.base_fn.__name__, {})
        key = keys.setdefault(tuning_key(tuner, args, meta), {"launches": {}, "candidates": {}})
        if self.size not in key["launches"]:
            key["launches"][self.size] = launch(tuner, config, meta)
        times = _shortly(tuner, lambda: stock(tuner, *args, config=config, **meta))
        ms = times[0] if isinstance(times, (list, tuple)) else times
        of = key["candidates"].setdefault(str(config), {})
        of[self.size] = round(ms, 6) if math.isfinite(ms) else None
        return times


def launch(tuner: Any, first: Any, meta: dict[str, Any]) -> dict[str, Any]:
    """What a launch is of; `first` is its first candidate."""
    given = {**tuner.nargs, **meta}
    known = {name: value for name, value in given.items() if name in tuner.arg_names}
    grid = meta["grid"]
    if callable(grid):
        grid = grid({**given, **first.all_kwargs()})
    tensors = [int(value.numel()) for value in known.values() if hasattr(value, "numel")]
    return {
        "programs": math.prod(int(side) for side in grid),
        "grid": [int(side) for side in grid],
        "first": str(first),
        "ints": {name: value for name, value in known.items() if type(value) is int},
        "largest_numel": max(tensors, default=0),
    }


def _shortly(tuner: Any, measure: Callable[[], Any]) -> Any:
    """Measure with a short `do_bench`, unless the kernel's author gave one."""
    if getattr(tuner, "_do_bench", None) is not None:
        return measure()
    short = functools.partial(tuner.do_bench, warmup=WARMUP_MS, rep=REP_MS)
    with _measuring_by(tuner, short):
        return measure()


@contextlib.contextmanager
def _measuring_by(tuner: Any, bench: Any) -> Iterator[None]:
    before = tuner.do_bench
    vars(tuner)["do_bench"] = bench
    try:
        yield
    finally:
        vars(tuner)["do_bench"] = before


def compile_share(number: int, of: int) -> None:
    """From now on, launch every `of`-th candidate once, and measure none.

    So many processes with one Triton cache compile all candidates together.
    """
    from triton.runtime.autotuner import Autotuner

    stock = Autotuner._bench
    runs: dict[tuple[int, str], int] = {}

    def bench(tuner: Any, *args: Any, config: Any, **meta: Any) -> Any:
        key = id(tuner), tuning_key(tuner, args, meta)
        place = next((i for i, one in enumerate(tuner.configs) if one is config), 0)
        # Of each key, a process needs one that runs, at every size: it is launched then.
        if runs.get(key, place) != place and place % of != number:
            return _NEVER

        def once(call: Callable[[], Any], **options: Any) -> list[float]:
            call()
            runs.setdefault(key, place)
            return [1.0] * 3

        with _measuring_by(tuner, once):
            return stock(tuner, *args, config=config, **meta)

    Autotuner._bench = bench
