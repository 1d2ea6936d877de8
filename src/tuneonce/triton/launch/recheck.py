"""Measures all candidates of a key whose winner is known, so that a verdict can be checked.

Only where it is asked for (``TUNEONCE_RECHECK``, `tuneonce bench regret`), at the first
launch of a key: a verdict holds no inputs, and made-up ones could crash the device. Launches are
those of a tuning, hooks, ``reset_to_zero`` and ``restore_value`` included. `tuning.oracle` says
what they prove.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from random import Random
from typing import Any

from ...resolution.resolver import Outcome
from ...system.forks import renew_in_child
from ...tuning.oracle import Finding, benchmarked, side_by_side
from ..compile.compilations import Compilations
from ..compile.listener import within
from ..compile.workers import Workers
from ..kernel.session import Session
from ..measure.result import Result
from ..measure.runner import Runner, timing_for
from ..measure.tuner import distinct, reset
from ..seams import autotuners
from .persistence import Persistence, measurement_of
from .report import candidate_text, key_fields


class Rechecker:
    """Checks each key of this process once; with `fix`, replaces verdicts that are wrong."""

    def __init__(
        self,
        persistence: Persistence,
        workers: Workers,
        *,
        fix: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._persistence = persistence
        self._workers = workers
        self._fix = fix
        self._clock = clock
        self._seen: set[tuple[str, str]] = set()
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child."""
        self._lock = threading.RLock()  # a signal handler may launch a kernel

    def check(self, session: Session) -> None:
        """Check the verdict of a session; its winner may be another one then.

        The caller holds the autotuner's lock. An error ends the check, not the launch.
        """
        question = session.question
        assert question is not None
        key = (question.key.digest, question.work_class)
        with self._lock:
            if key in self._seen:
                return
            self._seen.add(key)
        with self._persistence.guarded("recheck"):
            began = self._clock()
            positions = distinct(session.candidates)
            winner = positions[session.winner]
            try:
                with self._workers.turns.tuning(), within("recheck"):
                    finding = self._measure(session, winner, sorted(positions.values()))
            finally:
                reset(session)
            assert session.resolution is not None
            provisional = session.resolution.outcome is Outcome.PROVISIONAL
            fixed = bool(self._fix and finding and finding.wrong and self._fixed(session, finding))
            self._persistence.events.emit(
                "recheck",
                **key_fields(session),
                provisional=provisional,
                winner=candidate_text(session, winner),
                **({} if finding is None else _fields(session, finding)),
                fixed=fixed,
                seconds=(seconds := round(self._clock() - began, 6)),
                waited_s=seconds,
            )

    def _measure(self, session: Session, winner: int, positions: Sequence[int]) -> Finding | None:
        """None: the verdict's winner does not run here."""
        random, compilations = Random(session.seed), Compilations(session, self._workers)
        # What failed while it was tuned may fail in a way that ends the process.
        failed = {i for i, known in session.known.items() if known.failed is not None}
        wave = [i for i in positions if i not in failed or i == winner]
        with closing(compilations), closing(compilations.arrivals(wave)) as arrivals:
            return self._compare(session, winner, arrivals, compilations.failures, random)

    def _compare(
        self,
        session: Session,
        winner: int,
        arrivals: Iterator[int],
        failures: dict[int, str],
        random: Random,
    ) -> Finding | None:
        autotuner = session.autotuner
        timing = timing_for(session)
        if timing is not None:
            runner = Runner(
                *timing,
                failures=failures,
                on_error=lambda position, error: None,
            )
            return side_by_side(winner, arrivals, runner, random, clock=self._clock)

        def bench(position: int) -> Any:
            if position in failures:
                return math.inf
            # Again for each: a ``warmup`` of the same kernel in another thread resets it.
            autotuner.nargs = session.nargs
            config = session.candidates[position]
            return autotuners.bench(autotuner, session.args, config, session.kwargs)

        return benchmarked(winner, arrivals, bench, random)

    def _fixed(self, session: Session, finding: Finding) -> bool:
        """Put the right winner into the store. False: the verdict has changed, or cannot be."""
        question, resolution = session.question, session.resolution
        assert question is not None
        assert resolution is not None
        # What is known to fail stays known; every time is a new one.
        known = {
            m.candidate: m
            for m in session.known.values()
            if m.failed is not None and m.work_class == question.work_class
        }
        for position, times in finding.results.items():
            result = Result(times, samples=finding.samples[position])
            measurement = measurement_of(session, position, result, method="recheck")
            if measurement is not None:
                known[measurement.candidate] = measurement
        right, wrong = question.digests[finding.best], resolution.winner
        if not self._persistence.resolver.replace(question, known, right, wrong=wrong):
            return False
        session.resolve(question, replace(resolution, winner=right, known=known))
        return True


def _fields(session: Session, finding: Finding) -> dict[str, Any]:
    return {
        "fastest": candidate_text(session, finding.fastest),
        "best": candidate_text(session, finding.best),
        "regret": round(finding.regret, 6),
        "noise": round(finding.noise, 6),
        "wrong": finding.wrong,
        "candidates": len(finding.results),
        "passes": finding.passes,
    }
