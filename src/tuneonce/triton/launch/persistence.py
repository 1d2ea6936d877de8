"""Between a session and the resolver: asks, records and publishes, and never raises.

An error of ours costs the benefit, not the launch: the kernel is then tuned as stock Triton would,
and the statistics say why. With ``TUNEONCE_RAISE=1`` the error is raised instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec

from ...events.log import EventLog
from ...model.codec import Unencodable
from ...model.records import Measurement, Origin, Variants
from ...policies import Numerics
from ...resolution.journal import Journal
from ...resolution.resolver import Outcome, Question, Resolution, Resolver
from ...system.threads import BoundedCalls, Overdue
from ...tuning.between_classes import between
from ..compile.variants import split
from ..kernel import device_facts
from ..kernel.identity import NoIdentity
from ..kernel.session import Session
from ..measure.result import Broken, Result, as_measurement
from .outputs import sighting_of
from .question import question_of

logger = logging.getLogger("tuneonce")

T = TypeVar("T")

# A launch waits so long for its verdict to be stored, to use that of another process that was
# first: a disk takes some milliseconds. The end of a process waits longer, since the next one would
# have to find the results in the journal. Both arbitrary.
_STORED_WITHIN_S, _AT_THE_END_S = 0.05, 5.0


@dataclass(frozen=True)
class Persistence:
    """What the hook needs of one process: the resolver, the events, whether errors are raised.

    `background`, if any, makes the calls that keep something in the store.
    """

    resolver: Resolver
    events: EventLog
    raise_errors: bool = False
    background: BoundedCalls | None = None

    def keep(
        self, what: str, call: Callable[[], T], *, meanwhile: T, wait_s: float = _STORED_WITHIN_S
    ) -> T:
        """What `call` returns; `meanwhile` where it fails, or has not come back by `wait_s`.

        It goes on in the background then.
        """

        def guarded() -> T:
            with self.guarded(what):
                return call()
            return meanwhile

        if self.background is None:
            return guarded()
        try:
            return self.background(guarded, wait_s)
        except Overdue:
            return meanwhile

    def apart(self) -> Persistence:
        """The same with a background of its own: `finish` waits for calls of that one only."""
        background = None if self.background is None else BoundedCalls()
        return dataclasses.replace(self, background=background)

    def finish(self, seconds: float = _AT_THE_END_S) -> None:
        """Wait, for a while, until what went on in the background has come back."""
        if self.background is not None:
            self.background.wait(seconds)

    @contextlib.contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """Swallow and count an internal error, unless errors are to be raised."""
        try:
            yield
        except Exception as error:
            if self.raise_errors:
                raise
            self.events.emit("problem", what=f"internal_{what}", detail=repr(error))
            logger.warning("tuneonce: internal error in %s, going on as stock: %r", what, error)

    # -- what is known -----------------------------------------------------------------------

    def meet(self, session: Session) -> None:
        """Find out what to ask of a key, and answer what was read before. Reads nothing."""
        with self.guarded("meet"), contextlib.suppress(NoIdentity, Unencodable):
            session.question = question_of(session)
            recalled = self.resolver.recall(session.question)
            if recalled is not None:
                session.resolve(session.question, recalled)

    def ask(self, session: Session) -> None:
        """Resolve a key. One that cannot be kept is counted, with its reason."""
        reason, label = "internal_error", session.label
        with self.guarded("resolve"):
            try:
                question = session.question or question_of(session)
                resolution = self.resolver.resolve(question)
                if session.constant:
                    resolution = _of_this_list_alone(resolution)
                elif session.numerics is not Numerics.OFF and resolution.reason == "assembled":
                    # Measured, and not looked at: a wrong one may be the fastest.
                    resolution = dataclasses.replace(
                        resolution,
                        outcome=Outcome.PARTIAL,
                        winner=None,
                        reason="not_looked_at",
                        saved_s=0.0,
                    )
                if resolution.reason == "assembled":
                    settle = partial(self.resolver.settle, question, resolution)
                    resolution = self.keep("settle", settle, meanwhile=resolution)
                # The store answers no rank; what is found is kept.
                if session.together and not self.resolver.answers_ranks:
                    resolution = Resolution(Outcome.MISS, reason="benchmark_of_ranks")
                session.resolve(question, resolution)
            except NoIdentity as error:
                reason = error.reason
            except Unencodable as error:
                reason = f"not_encodable:{error.type_name}"
        if session.question is None:
            self.events.emit(
                "resolve", kernel=label, outcome="not_persisted", reason=reason, saved_s=0.0
            )

    def report(self, session: Session) -> None:
        """Tell the events how a key was resolved."""
        if session.question is not None and session.resolution is not None:
            with self.guarded("report"):
                self.resolver.report(session.question, session.resolution)

    def take_over(self, session: Session, timings: Mapping[Any, Any]) -> None:
        """Adopt results that stock Triton kept on disk, as a provisional verdict.

        `timings` are those of Triton's file; members that are no candidates are passed over.
        """
        question = session.question
        assert question is not None
        with self.guarded("take_over"):
            found = dict(session.measurements)
            for config, candidate in zip(session.candidates, question.candidates, strict=True):
                if config in timings:
                    measurement = as_measurement(
                        Result(timings[config]),
                        candidate=candidate.digest,
                        config=candidate.config,
                        method="triton-autotune-json",
                        work_class="cxx",
                    )
                    if measurement is not None:
                        found[candidate.digest] = measurement
            runnable = {d: m for d, m in found.items() if m.failed is None}
            if not runnable:  # Triton keeps what it found while another process held the memory
                return
            best = min((d for d in question.digests if d in runnable), key=lambda d: found[d].times)
            publish = partial(
                self.resolver.publish, question, found, best, origin="stock-cache", tune_s=0.0
            )
            adopted = self.keep("take_over", publish, meanwhile=best)
            session.resolve(
                question,
                Resolution(Outcome.PROVISIONAL, adopted, found, reason="stock_cache"),
            )

    def expect(self, session: Session) -> None:
        """Find what verdicts that do not hold here let expect of the candidates, and above all
        what the other classes of the key do.

        Nothing where bits are constant: the first candidate is measured, whatever is expected."""
        question = session.question
        if question is not None and not session.constant:
            with self.guarded("expect"):
                own = between(question.work_class, session.times_by_class)
                session.prior = self.resolver.expected(question, own)

    # -- what is learned ---------------------------------------------------------------------

    def record(
        self, session: Session, position: int, result: Result, *, method: str | None = None
    ) -> None:
        """Keep one candidate's result; `method` says how it was measured, if not by a tuning."""
        question = session.question
        if question is None:
            return
        with self.guarded("record"):
            usual = "race" if result.samples else "do_bench"
            measurement = measurement_of(session, position, result, method=method or usual)
            if measurement is None:
                if not isinstance(result.value, Broken):  # else the program hears of its error
                    self.events.emit("problem", what="benchmark_gave_no_time", detail=session.label)
                return
            session.measurements[measurement.candidate] = measurement
            if session.journal is not None:
                self._note(question, session.journal, measurement)

    def _note(self, question: Question, journal: Journal, measurement: Measurement) -> None:
        try:
            journal.record(msgspec.structs.replace(measurement, key=question.key.digest))
        except ValueError as error:
            detail = f"{question.label}: {error}"
            self.events.emit("problem", what="not_storable", detail=detail)

    def leave_out(self, session: Session, candidate: str, why: str) -> bool:
        """Keep that a candidate cannot run. False: it is not in the list, or is known."""
        question = session.question
        if question is None or candidate not in question.digests:
            return False
        if candidate in session.measurements:
            return False
        failed = Result([math.inf] * 3, failed=why)
        self.record(session, question.digests.index(candidate), failed)
        return candidate in session.measurements

    def publish(self, session: Session, *, tune_s: float, origin: Origin = "measured") -> None:
        """Publish a measured winner; from here on it is the one that all processes use."""
        question = session.question
        if question is None:
            return
        winner = question.digests[session.position_of(session.winner)]
        measurement = session.measurements.get(winner)
        if measurement is None or measurement.failed is not None:
            return  # nothing ran, or the benchmark's results are not times
        about = question.about
        with self.guarded("clocks"):
            about = {**about, **device_facts.clocks(interpreted=session.interpreted)}
        described = dataclasses.replace(question, about=about)
        known, sighting = session.measurements, None
        with self.guarded("sighting"):
            sighting = sighting_of(session)
        journal, session.journal = session.journal, None

        def publish() -> str:
            try:
                return self.resolver.publish(
                    described,
                    known,
                    winner,
                    origin=origin,
                    tune_s=tune_s,
                    sightings=[] if sighting is None else [sighting],
                    on_kept=None if journal is None else journal.forget,
                )
            finally:
                if journal is not None:
                    journal.close()

        session.winner = session.candidate_of(self.keep("publish", publish, meanwhile=winner))

    def keep_variants(self, session: Session) -> None:
        """Keep what the candidates were compiled with."""
        question, found = session.question, dict(session.variants)
        if question is None or not found:
            return

        def keep() -> None:
            common, each = split({question.digests[i]: v for i, v in sorted(found.items())})
            variants = Variants(
                key=list(question.key.parts),
                kernel=question.label,
                work_class=question.work_class,
                candidates=question.digests,
                common=common,
                each=each,
                recorded_at=time.time(),
            )
            self.resolver.keep_variants(question, variants)

        self.keep("variants", keep, meanwhile=None, wait_s=0.0)


def _of_this_list_alone(resolution: Resolution) -> Resolution:
    """Without answers that say nothing about bits: of another size or list, or by times alone.

    What cannot run, or is wrong, is known all the same, and so is what was seen of outputs.
    """
    if resolution.outcome is Outcome.HIT and resolution.reason != "assembled":
        return resolution
    known = resolution.here if resolution.reason == "work_class" else resolution.known
    failed = {d: m for d, m in known.items() if m.failed is not None}
    return Resolution(Outcome.MISS, known=failed, reason="bits", sightings=resolution.sightings)


def measurement_of(
    session: Session, position: int, result: Result, *, method: str
) -> Measurement | None:
    """A candidate's result as a record; None for one that is no time.

    `method` says how it was measured, if not by a benchmark function of the program's.
    """
    question = session.question
    assert question is not None
    candidate = question.candidates[position]
    return as_measurement(
        result,
        candidate=candidate.digest,
        config=candidate.config,
        method="kernel's own do_bench" if session.own_benchmark else method,
        work_class=question.work_class,
    )
