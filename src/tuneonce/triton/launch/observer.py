"""Counts what stock Triton does and changes nothing: for benchmark arms that run stock.

A tuning run is told from the outside: ``prune_configs`` is called once for every key that Triton
does not know, ``_bench`` once for every candidate it measures. Launches of known keys are not
touched.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from ...events.log import EventLog
from ..compile.listener import CompileListener, compile_seconds, loading_seconds, within
from ..seams import autotuners, probing
from ..seams.seam import Feature


class Observer:
    """Wraps ``Autotuner.prune_configs`` and ``Autotuner._bench`` with counters."""

    active = False
    """Whether Triton is anything but stock."""

    def __init__(self, module: Any, events: EventLog) -> None:
        self._module = module
        self._class = module.Autotuner
        self._events = events
        self._listener = CompileListener(events)
        self._stock: tuple[Any, Any] | None = None
        self._own: tuple[Any, Any] = (None, None)

    def install(self) -> bool:
        """Put the counters in place."""
        if self._stock is not None:
            return True
        probing.begin(self._module, self._seam_is_missing)
        if probing.missing(Feature.OBSERVER):
            return False
        self._listener.install()
        prune, measure = autotuners.PRUNE, autotuners.BENCH
        stock_prune, stock_bench = getattr(self._class, prune), getattr(self._class, measure)
        self._stock = (stock_prune, stock_bench)
        events = self._events

        @functools.wraps(stock_prune)
        def prune_first(autotuner: Any, *args: Any, **kwargs: Any) -> Any:
            autotuner._tuneonce_first = True
            return stock_prune(autotuner, *args, **kwargs)

        @functools.wraps(stock_bench)
        def bench(autotuner: Any, *args: Any, config: Any, **meta: Any) -> Any:
            if self._stock is None:  # under another wrapper, after `uninstall`
                return stock_bench(autotuner, *args, config=config, **meta)
            function = autotuners.function(autotuner)
            kernel = f"{function.__module__}:{function.__qualname__}"
            began, compiled, loaded = time.perf_counter(), compile_seconds(), loading_seconds()
            try:
                with within("tune"):
                    return stock_bench(autotuner, *args, config=config, **meta)
            finally:
                spent = round(time.perf_counter() - began, 6)
                compile_s = round(compile_seconds() - compiled, 6)
                load_s = round(loading_seconds() - loaded, 6)
                # One line for the run, which the candidates' seconds are then added to.
                first = vars(autotuner).get("_tuneonce_first", True)
                autotuner._tuneonce_first = False
                if first:
                    events.emit("tune", kernel=kernel, seconds=0.0, compile_s=0.0, waited_s=0.0)
                events.emit(
                    "measure",
                    kernel=kernel,
                    candidate=str(config),
                    seconds=spent,
                    compile_s=compile_s,
                    load_s=load_s,
                    sample_s=round(spent - compile_s - load_s, 6),
                    tune_s=spent,
                    waited_s=spent,
                )

        self._own = (prune_first, bench)
        setattr(self._class, prune, prune_first)
        setattr(self._class, measure, bench)
        return True

    def _seam_is_missing(self, reason: str) -> None:
        self._events.emit("problem", what="seam_missing", detail=reason)

    def check(self) -> None:
        """An observer replaces nothing that others might."""

    def finish(self, seconds: float) -> None:
        """An observer has started nothing."""

    def uninstall(self) -> None:
        """Restore stock."""
        self._listener.uninstall()
        probing.end()
        if self._stock is not None:
            stock_prune, stock_bench = self._stock
            # A wrapper that was put around ours since stays in place, and counts no more.
            for name, stock, own in (
                (autotuners.PRUNE, stock_prune, self._own[0]),
                (autotuners.BENCH, stock_bench, self._own[1]),
            ):
                if getattr(self._class, name) is own:
                    setattr(self._class, name, stock)
            self._stock = None
