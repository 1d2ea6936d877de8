"""Launches that say nothing about their candidates: of no programs, and those that only compile.

A batch of nothing, an expert without tokens, ``kernel.run(..., warmup=True)``: whatever is measured
is noise, which Triton's keys would then keep for every launch with work. So nothing is measured,
remembered, recorded or published; the next real launch tunes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal

from ..compile.arrivals import Compiles
from ..compile.compile_errors import passing_over
from ..compile.workers import Workers
from ..kernel.call import Cold, launch
from ..kernel.candidates import work_per_warp
from ..kernel.grid import programs
from ..kernel.wrappers import honours_warmup
from ..measure.tuner import Shipper
from .persist import Persistence
from .told import Subject

Why = Literal["no_programs", "warmup"]


def undecided(cold: Cold, pruned: Sequence[Any]) -> Why | None:
    """Why this launch must decide nothing; None if it must decide, as with stock.

    If others call the same benchmark function, it decides for this process.
    """
    if cold.together or clashes(cold.kwargs, pruned):
        return None
    return says_nothing(cold, pruned)


def says_nothing(cold: Cold, pruned: Sequence[Any]) -> Why | None:
    """Why what is measured of this launch says nothing about `pruned`."""
    autotuner, nargs, kwargs = cold.autotuner, cold.nargs, cold.kwargs
    if kwargs.get("warmup"):
        return "warmup"
    for config in pruned:
        if programs(autotuner, nargs, kwargs, config) != 0:
            return None
    return "no_programs" if pruned else None


def clashes(kwargs: dict[str, Any], pruned: Sequence[Any]) -> bool:
    """A tuned value that the caller gives too is an error, which stock finds as it measures."""
    return any(not kwargs.keys().isdisjoint(config.kwargs) for config in pruned)


class Undecided:
    """Such launches of one process."""

    def __init__(self, persistence: Persistence, workers: Workers) -> None:
        self._persistence = persistence
        self._workers = workers

    def launch(self, cold: Cold, pruned: Sequence[Any], why: Why) -> Any:
        """Launch what the store knows, else the first candidate that runs; what Triton returns.

        Raises what Triton raises, where no candidate runs.
        """
        winner, failed = self._known(cold, pruned, why)
        # Whatever drops `warmup` launches for real: once, as stock does outside of its benchmark.
        if why == "warmup" and honours_warmup(cold.autotuner.fn):
            failed |= self._compile(cold, pruned, failed)
        first = [] if winner is None else [config for config in pruned if config == winner][:1]
        # Not those that are known to fail: one may have taken a compiler with it.
        for config in (*first, *(c for i, c in enumerate(pruned) if i not in failed)):
            with passing_over():
                return launch(cold.autotuner, config, cold.args, cold.kwargs)
        return launch(cold.autotuner, pruned[0], cold.args, cold.kwargs)

    def _known(self, cold: Cold, pruned: Sequence[Any], why: Why) -> tuple[Any, frozenset[int]]:
        """The winner that the store has, and which candidates it knows to fail; asked once."""
        known, key = cold.state.undecided, (why, cold.stock_key)
        if key not in known:
            asked = self._persistence.ask(cold, cold.autotuner, pruned)
            found: tuple[Any, frozenset[int]] = (None, frozenset())
            if asked is not None:
                failed = (i for i, one in asked.known.items() if one.failed is not None)
                found = asked.winner, frozenset(failed)
            label = Subject(asked, cold, pruned).label
            self._persistence.events.emit("untuned", kernel=label, why=why)
            known[key] = found
        return known[key]

    def _compile(self, cold: Cold, pruned: Sequence[Any], failed: frozenset[int]) -> set[int]:
        """Have all candidates compiled, as a tuning would; here, what cannot be sent away.

        Returns those that do not compile.
        """
        workers = self._workers
        compiles = Compiles(
            workers,
            shipper := Shipper(workers, cold, pruned),
            work=lambda position: (work_per_warp(pruned[position]),),
            on_compiled=lambda position, seconds: None,
        )
        wanted = [position for position in range(len(pruned)) if position not in failed]
        with (
            closing(shipper),
            closing(compiles),
            workers.turns.tuning(),
            closing(compiles.arrivals(wanted)) as arrivals,
        ):
            for position in arrivals:
                if position not in compiles.failures:
                    with passing_over():
                        launch(cold.autotuner, pruned[position], cold.args, cold.kwargs)
        return set(compiles.failures)
