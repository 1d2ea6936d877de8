"""Measures all candidates of a key whose winner is known, so that a verdict can be checked.

Only where somebody asked for it (``TUNEONCE_RECHECK``, `tuneonce bench regret`), at the first
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
from random import Random
from typing import Any

from ...resolution.resolver import Outcome
from ...system.forks import renew_in_child
from ...tuning.oracle import Finding, benchmarked, side_by_side
from ..compile.arrivals import Compiles
from ..compile.workers import Workers
from ..kernel.call import Cold
from ..kernel.candidates import work_per_warp
from ..measure.result import Taken, as_measurement
from ..measure.runner import Track, timing_for
from ..measure.tuner import Shipper, distinct, reset
from .persist import Asked, Persistence
from .told import Subject


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

    def check(self, cold: Cold, pruned: Sequence[Any], asked: Asked) -> Any:
        """The candidate to run: the verdict's winner, or the one that has taken its place.

        The caller holds the autotuner's lock. An error ends the check, not the launch.
        """
        question, subject = asked.question, Subject(asked, cold, pruned)
        key = (question.key.digest, question.work_class)
        with self._lock:
            if key in self._seen:
                return asked.winner
            self._seen.add(key)
        with self._persistence.guarded("recheck"):
            began = self._clock()
            positions = distinct(pruned)
            winner = positions[asked.winner]
            try:
                with self._workers.turns.tuning():
                    finding = self._measure(cold, pruned, asked, winner, sorted(positions.values()))
            finally:
                reset(cold, asked.winner)
            fixed = bool(self._fix and finding and finding.wrong and self._replace(asked, finding))
            self._persistence.events.emit(
                "recheck",
                **subject.fields(),
                provisional=asked.resolution.outcome is Outcome.PROVISIONAL,
                winner=subject.candidate(winner),
                **({} if finding is None else _fields(subject, finding)),
                fixed=fixed,
                seconds=round(self._clock() - began, 6),
            )
        return asked.winner

    def _measure(
        self,
        cold: Cold,
        pruned: Sequence[Any],
        asked: Asked,
        winner: int,
        positions: Sequence[int],
    ) -> Finding | None:
        """None: the verdict's winner does not run here."""
        random, workers = Random(asked.seed), self._workers
        compiles = Compiles(
            workers,
            shipper := Shipper(workers, cold, pruned),
            work=lambda position: (work_per_warp(pruned[position]),),
            on_compiled=lambda position, seconds: None,
        )
        # What failed while it was tuned may fail in a way that ends the process.
        failed = {i for i, measurement in asked.known.items() if measurement.failed is not None}
        wave = [i for i in positions if i not in failed or i == winner]
        with (
            closing(shipper),
            closing(compiles),
            closing(compiles.arrivals(wave)) as arrivals,
        ):
            return self._compare(cold, pruned, winner, arrivals, compiles.failures, random)

    def _compare(
        self,
        cold: Cold,
        pruned: Sequence[Any],
        winner: int,
        arrivals: Iterator[int],
        failures: dict[int, str],
        random: Random,
    ) -> Finding | None:
        autotuner = cold.autotuner
        timing = timing_for(cold, pruned)
        if timing is not None:
            track = Track(
                *timing,
                failures=failures,
                on_error=lambda position, error: None,
            )
            return side_by_side(winner, arrivals, track, random, clock=self._clock)

        def bench(position: int) -> Any:
            if position in failures:
                return math.inf
            # Again for each: a ``warmup`` of the same kernel in another thread resets it.
            autotuner.nargs = cold.nargs
            return autotuner._bench(*cold.args, config=pruned[position], **cold.kwargs)

        return benchmarked(winner, arrivals, bench, random)

    def _replace(self, asked: Asked, finding: Finding) -> bool:
        """Put the right winner into the store. False: the verdict has changed, or cannot be."""
        question = asked.question
        # What is known to fail stays known; every time is a new one.
        known = {
            m.candidate: m
            for m in asked.known.values()
            if m.failed is not None and m.work_class == question.work_class
        }
        for position, result in finding.results.items():
            candidate = question.candidates[position]
            measurement = as_measurement(
                Taken(result, samples=finding.samples[position]),
                candidate=candidate.digest,
                config=candidate.config,
                method=asked.own_method or "recheck",
                work_class=question.work_class,
            )
            if measurement is not None:
                known[candidate.digest] = measurement
        right = question.digests[finding.best]
        wrong = asked.resolution.winner
        if not self._persistence.resolver.replace(question, known, right, wrong=wrong):
            return False
        asked.corrected(right, known)
        return True


def _fields(subject: Subject, finding: Finding) -> dict[str, Any]:
    return {
        "fastest": subject.candidate(finding.fastest),
        "best": subject.candidate(finding.best),
        "regret": round(finding.regret, 6),
        "noise": round(finding.noise, 6),
        "wrong": finding.wrong,
        "candidates": len(finding.results),
        "passes": finding.passes,
    }
