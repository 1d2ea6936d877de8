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
from ..compile.listener import CompileListener, compile_seconds


class Observer:
    """Wraps ``Autotuner.prune_configs`` and ``Autotuner._bench`` with counters."""

    active = False
    """Whether Triton is anything but stock."""

    def __init__(self, module: Any, events: EventLog) -> None:
        self._class = module.Autotuner
        self._events = events
        self._listener = CompileListener(events)
        self._stock: tuple[Any, Any] | None = None
        self._own: tuple[Any, Any] = (None, None)

    def install(self) -> bool:
        """Put the counters in place."""
        if self._stock is not None:
            return True
        self._listener.install()
        stock_prune, stock_bench = self._class.prune_configs, self._class._bench
        self._stock = (stock_prune, stock_bench)
        events = self._events

        @functools.wraps(stock_prune)
        def prune_configs(autotuner: Any, *args: Any, **kwargs: Any) -> Any:
            autotuner._tuneonce_first = True
            return stock_prune(autotuner, *args, **kwargs)

        @functools.wraps(stock_bench)
        def bench(autotuner: Any, *args: Any, config: Any, **meta: Any) -> Any:
            if self._stock is None:  # under another wrapper, after `uninstall`
                return stock_bench(autotuner, *args, config=config, **meta)
            kernel = f"{autotuner.base_fn.__module__}:{autotuner.base_fn.__qualname__}"
            began, compiled = time.perf_counter(), compile_seconds()
            try:
                return stock_bench(autotuner, *args, config=config, **meta)
            finally:
                spent = round(time.perf_counter() - began, 6)
                compile_s = round(compile_seconds() - compiled, 6)
                # One line for the run, which the candidates' seconds are then added to.
                first = vars(autotuner).get("_tuneonce_first", True)
                autotuner._tuneonce_first = False
                if first:
                    events.emit("tune", kernel=kernel, seconds=0.0, compile_s=0.0)
                events.emit(
                    "measure",
                    kernel=kernel,
                    candidate=str(config),
                    seconds=spent,
                    compile_s=compile_s,
                    tune_s=spent,
                )

        self._own = (prune_configs, bench)
        self._class.prune_configs, self._class._bench = self._own
        return True

    def check(self) -> None:
        """An observer replaces nothing that others might."""

    def finish(self) -> None:
        """An observer has started nothing."""

    def uninstall(self) -> None:
        """Restore stock."""
        self._listener.uninstall()
        if self._stock is not None:
            stock_prune, stock_bench = self._stock
            # A wrapper that was put around ours since stays in place, and counts no more.
            if self._class.prune_configs is self._own[0]:
                self._class.prune_configs = stock_prune
            if self._class._bench is self._own[1]:
                self._class._bench = stock_bench
            self._stock = None
