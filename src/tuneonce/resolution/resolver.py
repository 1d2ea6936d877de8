"""Decides what is known about a key, and keeps what is learned.

One key directory holds verdicts (immutable, one per work class and list of candidates) and loose
measurements (written as a tuning goes on, removed once a verdict contains them). `resolve` reads
them in this order and stops at the first answer:

1. the verdict for exactly this work class and list: one read;
2. measurements of every candidate at this work class, from older verdicts or an interrupted
   tuning: the winner is computed, nothing is measured (`settle` publishes it);
3. a verdict of another work class whose winner is a live candidate, unless this work class has one
   over another list: used, and counted as provisional. Of several the one whose winner is expected
   to be the fastest (`tuning.between_classes`), or else that of the nearest class;
4. nothing, or not enough: the caller measures what is missing. What an interrupted tuning, or one
   of another list, has measured is not measured again.

Nothing here raises because a store or a record is bad (`access`). A stored winner is the digest of
a candidate, which is looked up among the live ones: nothing else in a record selects what runs.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from .._version import __version__
from ..errors import StoreError
from ..events.log import EventLog
from ..model.codec import digest
from ..model.key import Candidate, Key, class_distance
from ..model.record_names import class_of_verdict, journal_file
from ..model.records import (
    BadRecord,
    Measurement,
    Origin,
    Sighting,
    Variants,
    Verdict,
    Wanted,
    says_nothing,
    unpack,
)
from ..model.wording import config_text, kernel_label
from ..store.base import Store
from ..tuning.between_classes import Between
from ..tuning.class_winners import ClassWinners
from ..tuning.priors import Prior
from ..tuning.selection import by_candidate, choose, likeliest_verdict, nearest, times_by_class
from ..tuning.siblings import Sibling
from .access import Access, Budget
from .journal import Journals
from .neighbourhood import Neighbourhood
from .recorded_variants import variants_names

# A candidate that failed to compile or to fit is not tried again for a week: long enough to spare
# every restart, short enough that a passing cause (memory taken by a neighbour) heals by itself.
FAILURE_HOLDS_S = 7 * 24 * 3600.0

# So long a far store is asked for other verdicts of a key. Arbitrary; a disk takes milliseconds.
_NEIGHBOURS_S = 2.0

# How much is read before it is asked for. Arbitrary: two thousand verdicts of some 16 KB.
_PREFETCHED_BYTES = 32 << 20

_NOTHING = Between[str]()

# Arbitrary: so many names of a key's directory are looked at, and so many verdicts are read besides
# the one that was asked for: those of the nearest work classes.
_NAMES, _VERDICTS = 2000, 32


class Outcome(enum.Enum):
    """What a resolution found."""

    HIT = "hit"
    """A winner measured at this work class."""
    PROVISIONAL = "provisional"
    """A winner measured at another work class, or taken over from Triton's own cache."""
    SHARED = "shared"
    """The winner of a key that differs in one number only, which is always new."""
    PARTIAL = "partial"
    """Some candidates are measured, the others must be."""
    MISS = "miss"
    """Nothing is known."""


@dataclass(frozen=True)
class Resolution:
    """`winner` is a candidate's digest; `known` are the usable measurements by digest, of the
    winner's work class. `here`: those of the work class that was asked for, where it is another.
    `beside`: milliseconds by candidate, by each other work class that was looked at. `of_key`: all
    winners of the key, where nothing but these decides. `sightings`: what tunings of this key at
    other sizes, or over other lists, have seen of outputs.
    """

    outcome: Outcome
    winner: str | None = None
    known: dict[str, Measurement] = field(default_factory=dict)
    reason: str | None = None
    saved_s: float = 0.0
    here: dict[str, Measurement] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    of_key: ClassWinners | None = None
    sightings: tuple[Sighting, ...] = ()


@dataclass(frozen=True)
class Question:
    """One key at one work class, with the live candidates in their order."""

    key: Key
    work_class: str
    programs: int | None
    candidates: Sequence[Candidate]
    about: dict[str, str] = field(default_factory=dict)

    @property
    def digests(self) -> list[str]:
        return [candidate.digest for candidate in self.candidates]

    @property
    def seed(self) -> int:
        """A number for what a race leaves to chance: the same in every world, for every source."""
        parts = [
            list(p) for p in self.key.parts if p[0] == "kernel.name" or p[0].startswith("key.")
        ]
        return int(digest([*parts, self.work_class], length=12), 16)

    @property
    def journal(self) -> str:
        """What the journal of its tuning is called."""
        return journal_file(self.key.digest, self.work_class)

    @property
    def label(self) -> str:
        """The kernel as events name it."""
        return kernel_label(self.key.kernel.name, self.key.kernel.module)


class Resolver:
    """Answers questions from a store and writes answers to it. Thread-safe."""

    answers_ranks = False
    """Whether a launch may use its answers where others call its benchmark function, too."""

    def __init__(
        self,
        store: Store,
        events: EventLog,
        *,
        journals: Journals | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.access = self._access = Access(store, events)
        self._journals = journals
        self._prefetched: dict[str, Verdict] = {}
        self._asked: set[str] = set()
        self.prefetched = 0
        """How many verdicts were read before they were asked for."""
        self._neighbourhood = Neighbourhood(self._access)
        self._events = events
        self._clock = clock

    # -- questions ---------------------------------------------------------------------------

    def report(self, question: Question, resolution: Resolution) -> None:
        """Tell the events what became of a key."""
        explanation: dict[str, Any] = {}
        if resolution.outcome in (Outcome.MISS, Outcome.PARTIAL):
            # Only a miss has to explain itself; `tuneonce why` compares these parts.
            explanation = {
                "parts": question.key.parts,
                "candidates": {c.digest: config_text(c.config) for c in question.candidates},
            }
        elif resolution.winner is not None:
            position = question.digests.index(resolution.winner)
            explanation = {"winner": config_text(question.candidates[position].config)}
        self._events.emit(
            "resolve",
            kernel=question.label,
            key=question.key.digest,
            work_class=question.work_class,
            outcome=resolution.outcome.value,
            reason=resolution.reason,
            saved_s=round(resolution.saved_s, 6),
            **explanation,
        )

    def resolve(self, question: Question) -> Resolution:
        """What is known about a key."""
        name = question.key.verdict_name(question.work_class, question.digests)
        self._asked.add(name)
        verdict = self._prefetched.pop(name, None) or self._access.read(name, Verdict)
        return self._answer(question, verdict) or self._from_neighbours(question)

    def _answer(self, question: Question, verdict: Verdict | None) -> Resolution | None:
        """Rule 1: what the verdict for exactly this work class and list says, if there is one."""
        if verdict is None or verdict.winner not in question.digests:
            return None
        known = self._usable(question, verdict.measurements)
        if verdict.origin == "stock-cache":  # only where the work class is unknown to both
            return Resolution(Outcome.PROVISIONAL, verdict.winner, known, "stock_cache")
        return Resolution(Outcome.HIT, verdict.winner, known, saved_s=verdict.tune_s)

    def published(self, question: Question) -> Resolution | None:
        """The answer for exactly this work class and list, if there is one by now: one read."""
        name = question.key.verdict_name(question.work_class, question.digests)
        found = self._answer(question, self._access.read(name, Verdict))
        if found is None or found.outcome is not Outcome.HIT:
            return found
        return replace(found, reason="another_process")

    def recall(self, question: Question) -> Resolution | None:
        """The answer for exactly this work class and list, if it was read before it was asked."""
        name = question.key.verdict_name(question.work_class, question.digests)
        if name not in self._prefetched:
            return None
        found = self._answer(question, self._prefetched[name])
        if found is None or found.outcome is not Outcome.HIT:
            return None
        self._asked.add(name)
        self._prefetched.pop(name, None)
        return found

    def prefetch(self, names: Iterable[str], *, until: float) -> None:
        """Read verdicts that will be asked for, until then (``time.monotonic``).

        Each answers once, for the launch that asks first, and not where one has asked already.
        """
        budget = Budget(_PREFETCHED_BYTES, until)
        for name in names:
            if budget.is_spent:
                break
            if name in self._asked or name in self._prefetched:
                continue
            # Not a word about those that are gone: they may be of another Triton or source.
            verdict = self._access.read(name, Verdict, budget)
            if verdict is not None:
                self._prefetched[name] = verdict
                self.prefetched += 1
                if name in self._asked:  # meanwhile; it has read for itself, or has taken this one
                    self._prefetched.pop(name, None)

    def _from_neighbours(self, question: Question) -> Resolution:
        """Rules 2 to 4: one listing of the key's directory, then its records."""
        work_class, budget = question.work_class, Budget.of_seconds(_NEIGHBOURS_S)
        names = self._access.children(question.key.directory + "/", _NAMES)
        classes = {name: found for name in names if (found := class_of_verdict(name)) is not None}
        ours = {question.key.measurement_name(work_class, digest) for digest in question.digests}

        def apart(name: str) -> tuple[float, str]:
            return class_distance(classes[name], work_class), name

        read = self._access.read
        near = [read(name, Verdict, budget) for name in sorted(classes, key=apart)[:_VERDICTS]]
        verdicts = [verdict for verdict in near if verdict is not None]
        alone = [read(name, Measurement, budget) for name in names if name in ours]
        loose = [measurement for measurement in alone if measurement is not None]
        if self._journals is not None:
            left = self._journals.left(question.journal)
            loose += [measurement for measurement in left if measurement.key == question.key.digest]
        seen = tuple(sighting for verdict in verdicts for sighting in verdict.sightings or ())
        return replace(self._put_together(question, verdicts, loose), sightings=seen)

    def _put_together(
        self, question: Question, verdicts: Sequence[Verdict], loose: Sequence[Measurement]
    ) -> Resolution:
        """What verdicts of this key and measurements say that are kept by themselves."""
        work_class = question.work_class
        behind = [m for verdict in verdicts for m in verdict.measurements]
        known = self._usable(question, [*behind, *loose])
        missing = [digest for digest in question.digests if digest not in known]
        # A race that was cut off may have measured all candidates and not decided yet.
        unsettled = any(not known[d].settled for d in question.digests if d in known)
        if (
            not missing
            and not unsettled
            and (winner := choose(question.digests, known)) is not None
        ):
            saved = sum(known[digest].seconds for digest in set(question.digests))
            return Resolution(Outcome.HIT, winner, known, reason="assembled", saved_s=saved)
        elsewhere = [v for v in verdicts if v.work_class != work_class]
        beside = times_by_class(question.digests, elsewhere)
        other = likeliest_verdict(question.digests, work_class, elsewhere)
        other = other or nearest(question.digests, work_class, elsewhere)
        if other is not None and not (known and len(elsewhere) < len(verdicts)):
            reason = "stock_cache" if other.origin == "stock-cache" else "work_class"
            theirs, saved = by_candidate(question.digests, other.measurements), other.tune_s
            return Resolution(
                Outcome.PROVISIONAL, other.winner, theirs, reason, saved, known, beside
            )
        if known and (missing or unsettled):
            reason = "candidates_missing" if missing else "unfinished"
            return Resolution(Outcome.PARTIAL, None, known, reason, beside=beside)
        why = "all_failed" if known else "unknown"
        return Resolution(Outcome.MISS, None, known, why, beside=beside)

    def settle(self, question: Question, resolution: Resolution) -> Resolution:
        """Publish a winner that was assembled from measurements.

        If another process has published one first, the result has that process's winner. Other
        resolutions are returned as they are.
        """
        if resolution.reason != "assembled" or resolution.winner is None:
            return resolution
        winner = self.publish(
            question,
            resolution.known,
            resolution.winner,
            origin="assembled",
            tune_s=resolution.saved_s,
            on_kept=lambda: self._forget(question),
        )
        return replace(resolution, winner=winner)

    def _usable(
        self, question: Question, measurements: Iterable[Measurement]
    ) -> dict[str, Measurement]:
        """By candidate, those of this list and work class; a failure only while it holds.

        A failure dated in the future, by a clock that was wrong, does not hold for ever, either.
        """
        now = self._clock()
        fitting = (
            m
            for m in measurements
            if m.work_class == question.work_class
            and (m.failed is None or abs(now - m.measured_at) <= FAILURE_HOLDS_S)
        )
        return by_candidate(question.digests, fitting)

    def expected(self, question: Question, own: Between[str] = _NOTHING) -> Prior[int]:
        """What verdicts that do not hold here let expect of the candidates, by position; before
        all of it `own`, what the key's own classes do."""
        found = self._neighbourhood.expected(question.key, question.work_class, question.digests)
        return found.behind(own).at(question.digests)

    def siblings(self, question: Question) -> list[Sibling]:
        """The keys of this kernel that have a verdict in this world: some, where there are many."""
        return self._neighbourhood.siblings(question.key)

    def elsewhere(self, question: Question) -> list[Sibling]:
        """Keys of this kernel in other worlds and sources, over live candidates: nearest first."""
        return self._neighbourhood.elsewhere(question.key, question.work_class, question.digests)

    def want(self, question: Question) -> bool:
        """Keep that a key is to be measured. False: its kernel has too many, or the store fails."""
        wanted = Wanted(
            key=list(question.key.parts),
            kernel=question.label,
            work_class=question.work_class,
            candidates=question.digests,
            recorded_at=self._clock(),
        )
        return self._neighbourhood.want(question.key, wanted)

    def variants(self) -> Iterator[Variants]:
        """What candidates of any kernel were compiled with anywhere, the earliest first.

        Of very many, some of every kernel.
        """
        budget = Budget()
        names = variants_names(self._access.children)
        read = (self._access.read(name, Variants, budget) for name in names)
        found = [record for record in read if record is not None]
        yield from sorted(found, key=lambda record: record.recorded_at)

    def keep_variants(self, question: Question, variants: Variants) -> None:
        """Keep what the candidates of a key were compiled with, unless it is there already."""
        name = question.key.variants_name(question.work_class, question.digests)
        self._access.put(name, variants, only_if_absent=True, durable=False)

    # -- answers -----------------------------------------------------------------------------

    def publish(
        self,
        question: Question,
        known: dict[str, Measurement],
        winner: str,
        *,
        origin: Origin,
        tune_s: float,
        sightings: Sequence[Sighting] = (),
        on_kept: Callable[[], None] | None = None,
    ) -> str:
        """Publish the winner unless another process was first; returns the winner to use.

        Measurements that an earlier version has kept by themselves are removed where the published
        verdict has them, and so is the note that the key is wanted. Calls `on_kept` once there is
        one.
        """
        # A verdict taken over from Triton says nothing about the size it was measured at.
        work_class = question.work_class if origin != "stock-cache" else "cxx"
        verdict = Verdict(
            key=list(question.key.parts),
            about={"kernel.module": question.key.kernel.module, **question.about},
            work_class=work_class,
            programs=question.programs,
            candidates=question.digests,
            winner=winner,
            measurements=list(known.values()),
            origin=origin,
            tune_s=tune_s,
            compile_s=sum(m.compile_s for m in known.values()),
            published_at=self._clock(),
            tuneonce=__version__,
            sightings=list(sightings) or msgspec.UNSET,
        )
        name = question.key.verdict_name(work_class, question.digests)
        adopted, kept = winner, set[str]()
        # Twice: an unreadable record may have the name, and is set aside when it is read.
        for _ in range(2):
            stored = self._access.put(name, verdict, only_if_absent=True)
            if stored is None:
                break
            first = verdict if stored else self._access.read(name, Verdict)
            if first is not None and first.winner in question.digests:
                adopted, kept = first.winner, {m.candidate for m in first.measurements}
                break
        if kept and on_kept is not None:
            on_kept()
        if kept and work_class == question.work_class:
            there = self._access.children(question.key.directory + "/", _NAMES)
            loose = {question.key.measurement_name(work_class, c) for c in kept & known.keys()}
            loose.add(question.key.wanted_name(work_class, question.digests))
            for name in there:
                if name in loose and not self._access.remove(name):
                    break
        return adopted

    def _forget(self, question: Question) -> None:
        if self._journals is not None:
            self._journals.forget(question.journal)

    def replace(
        self, question: Question, known: dict[str, Measurement], winner: str, *, wrong: str | None
    ) -> bool:
        """Put a better winner in the place of the verdict that says `wrong`, or where none is.

        True: the store says `winner` now. A verdict that says something else by now is left alone.
        A process that asks between the removal and the new verdict finds none, and tunes.
        """
        if any(map(says_nothing, known.values())):  # it would not be published
            return False
        name = question.key.verdict_name(question.work_class, question.digests)
        tune_s = sum(m.seconds for m in known.values())
        sightings: Sequence[Sighting] = ()
        try:
            data = self._access.store.get(name)
            if data is not None:
                old = unpack(data, Verdict)
                if old.winner != wrong or not self._access.store.delete_if(name, data):
                    return False
                tune_s, sightings = old.tune_s, old.sightings or ()
        except BadRecord:  # set aside when this key is resolved next
            return False
        except StoreError as error:
            self._access.failed(error)
            return False
        self.publish(
            question, known, winner, origin="rechecked", tune_s=tune_s, sightings=sightings
        )
        published = self._access.read(name, Verdict)
        return published is not None and published.winner == winner
