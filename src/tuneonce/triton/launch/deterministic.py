"""Launches of a process that measures nothing, so that all ranks and starts launch the same.

A launch gets the winner of its work class, or of the nearest that has one; in a key without any the
first candidate of the live list that runs. What does not run here is passed over in the list's
order, as a tuning would pass over it, so that the choice is the same wherever the list and the
device are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...model.record_names import list_digest
from ..compile.compile_errors import is_passed_over
from ..kernel.call import launch, view_of
from ..kernel.fixed_classes import FixedClasses
from ..kernel.known_winners import known_of, remember
from ..kernel.session import Session
from ..measure.result import first_line
from ..seams import autotuners
from .persistence import Persistence
from .undecided import clashes, says_nothing


def has_a_choice(session: Session) -> bool:
    """Whether there is a candidate to launch; else Triton raises what it raises."""
    return bool(session.candidates) and not clashes(session)


class Deterministic:
    """The cold keys of such a process.

    `tell` tells Triton's listener of a winner that was known.
    """

    def __init__(self, persistence: Persistence, tell: Callable[[Session], None]) -> None:
        self._persistence = persistence
        self._tell = tell

    def launch(self, session: Session) -> Any:
        """Launch the winner, else the first candidate that runs; what Triton returns.

        It is remembered for launches like this one, also while a CUDA graph is captured. The caller
        holds the autotuner's lock, unless a graph is captured. Raises what Triton raises, where no
        candidate runs, for the first that was tried.
        """
        autotuner = session.autotuner
        # Not the real one, which other threads use while a graph is captured.
        asked = replace(session, autotuner=view_of(autotuner, session.nargs))
        is_new = len(session.candidates) > 1 and self._ask(asked)
        config, result = self._first_that_runs(session, asked)
        if says_nothing(session) is not None:  # it was compiled, and may not run yet
            return result
        _remember(session, config)
        if config is asked.winner and is_new:
            autotuners.set_timings(autotuner, asked.known_timings())
            self._tell(session)
        return result

    def _ask(self, asked: Session) -> bool:
        """Find the winner. Whether it is the first time for its class, which is told then."""
        classes = asked.classes
        if not isinstance(classes, FixedClasses):
            self._persistence.ask(asked)
            self._persistence.report(asked)
            return True
        if None in classes.told:  # it cannot be kept
            return False
        self._persistence.ask(asked)
        question, resolution = asked.question, asked.resolution
        told = None
        if question is not None and resolution is not None and resolution.of_key is not None:
            classes.know(resolution.of_key)
            differ = resolution.of_key.differ
            told = list_digest(question.digests), question.work_class if differ else None
        if told in classes.told:
            return False
        classes.told.add(told)
        self._persistence.report(asked)
        return True

    def _first_that_runs(self, session: Session, asked: Session) -> tuple[Any, Any]:
        """A candidate, and what its launch has returned."""
        failed: Exception | None = None
        for config in _in_order(asked):
            try:
                return config, launch(session.autotuner, config, session.args, session.kwargs)
            except Exception as error:
                if not is_passed_over(error):
                    raise
                failed = failed or error
                stored = config is asked.winner
                self._persistence.events.emit(
                    "problem",
                    what="winner_does_not_run" if stored else "candidate_does_not_run",
                    detail=f"{session.label} {config}: {first_line(str(error))}",
                )
        assert failed is not None
        raise failed


def _remember(session: Session, config: Any) -> None:
    """Have launches like this one run it, without being asked for again."""
    autotuner, stock_key, classes = session.autotuner, session.stock_key, session.classes
    args, kwargs, state = session.args, session.kwargs, session.state
    if isinstance(classes, FixedClasses):
        with suppress(TypeError, AttributeError):  # no ordinary Config
            classes.put(autotuner.cache, classes.place(autotuner, args, kwargs), config)
            state.ours[stock_key] = config
            known_of(state.shapes, autotuner, classes, args, kwargs).meet(autotuner, args, kwargs)
            return
    autotuner.cache[stock_key] = state.ours[stock_key] = config
    remember(state.shapes, autotuner, stock_key, config, args, kwargs)


def _in_order(asked: Session) -> Iterator[Any]:
    """The winner, the candidates in their order, and last those that are known to fail."""
    if asked.winner is not None:
        yield asked.winner
    failed = asked.failing
    others = [*enumerate(asked.candidates)]
    for _, config in sorted(others, key=lambda one: one[0] in failed):
        if config is not asked.winner:
            yield config
