"""Launches that say nothing about their candidates: of no programs, and those that only compile.

A batch of nothing, an expert without tokens, ``kernel.run(..., warmup=True)``: whatever is measured
is noise, which Triton's keys would then keep for every launch with work. So nothing is measured,
remembered, recorded or published; the next real launch tunes.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, Literal

from ..compile.compilations import Compilations
from ..compile.compile_errors import passing_over
from ..compile.listener import trial
from ..compile.workers import Workers
from ..kernel.call import launch
from ..kernel.fixed_classes import FixedClasses
from ..kernel.grid import programs
from ..kernel.session import Session
from ..kernel.wrappers import honours_warmup
from .persistence import Persistence

Why = Literal["no_programs", "warmup"]


def undecided(session: Session) -> Why | None:
    """Why this launch must decide nothing; None if it must decide, as with stock.

    If others call the same benchmark function, it decides for this process.
    """
    if session.together or clashes(session):
        return None
    return says_nothing(session)


def says_nothing(session: Session) -> Why | None:
    """Why what is measured of this launch says nothing about its candidates."""
    autotuner, nargs, kwargs = session.autotuner, session.nargs, session.kwargs
    if kwargs.get("warmup"):
        return "warmup"
    for config in session.candidates:
        if programs(autotuner, nargs, kwargs, config) != 0:
            return None
    return "no_programs" if session.candidates else None


def clashes(session: Session) -> bool:
    """A tuned value that the caller gives too is an error, which stock finds as it measures."""
    given = session.kwargs.keys()
    return any(not given.isdisjoint(config.kwargs) for config in session.candidates)


class Undecided:
    """Such launches of one process. `compiles_all`: its next launch will want all candidates."""

    def __init__(
        self, persistence: Persistence, workers: Workers, *, compiles_all: bool = True
    ) -> None:
        self._persistence = persistence
        self._workers = workers
        self._compiles_all = compiles_all

    def launch(self, session: Session, why: Why) -> Any:
        """Launch what the store knows, else the first candidate that runs; what Triton returns.

        Raises what Triton raises, where no candidate runs.
        """
        autotuner, candidates = session.autotuner, session.candidates
        winner, failed = self._known(session, why)
        # Whatever drops `warmup` launches for real: once, as stock does outside of its benchmark.
        if why == "warmup" and self._compiles_all and honours_warmup(autotuner.fn):
            failed |= self._compile(session, failed)
        first = [] if winner is None else [config for config in candidates if config == winner][:1]
        # Not those that are known to fail: one may have taken a compiler with it.
        for config in (*first, *(c for i, c in enumerate(candidates) if i not in failed)):
            with passing_over():
                return launch(autotuner, config, session.args, session.kwargs)
        return launch(autotuner, candidates[0], session.args, session.kwargs)

    def _known(self, session: Session, why: Why) -> tuple[Any, frozenset[int]]:
        """The winner that the store has, and which candidates it knows to fail; read once."""
        known, key = session.state.undecided, (why, session.stock_key)
        is_new, is_fixed = key not in known, isinstance(session.classes, FixedClasses)
        if is_new or is_fixed:  # there, another size has another winner, and nothing is read
            self._persistence.ask(session)
            known[key] = session.winner, session.failing
        if is_new:
            self._persistence.events.emit("untuned", kernel=session.label, why=why)
        return known[key]

    def _compile(self, session: Session, failed: frozenset[int]) -> set[int]:
        """Have all candidates compiled, as a tuning would; here, what cannot be sent away.

        Returns those that do not compile.
        """
        compilations = Compilations(session, self._workers)
        wanted = [i for i in range(len(session.candidates)) if i not in failed]
        with (
            closing(compilations),
            self._workers.turns.tuning(),
            closing(compilations.arrivals(wanted)) as arrivals,
        ):
            for position in arrivals:
                if position not in compilations.failures:
                    config = session.candidates[position]
                    with passing_over(), trial():
                        launch(session.autotuner, config, session.args, session.kwargs)
        self._workers.tell_wait(session.label, compilations.front_s + compilations.wait_s)
        return set(compilations.failures)
