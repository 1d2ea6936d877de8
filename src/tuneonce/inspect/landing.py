"""Records that come into a store from somewhere else, by a merge or out of a file.

Of several records of one name the one with the most evidence stays (`model.evidence`), whoever had
it first: so the same records make the same store in whatever order they come, and what was cut off
is simply done again. Verdicts that do not agree about the winner are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ..errors import RecordUnreadable
from ..model.evidence import Evidence, because, evidence
from ..model.records import BadRecord, Verdict
from ..model.wording import kernel_label, tuning_text, world_text
from ..model.wording import tuning as tuning_of
from ..model.wording import world as facts_of
from ..replica.shared import Result, checked_result
from ..store.base import Store
from .listing import candidate_text, median

# So many conflicts and problems are told; the others are counted. Arbitrary.
_TOLD = 100

# A record that another process puts there meanwhile is compared, too. Arbitrary.
_TRIES = 3


class Side(msgspec.Struct, frozen=True):
    """One of the verdicts about a key: where it is, its winner, and that one's median time."""

    source: str
    winner: str
    winner_ms: float | None


class Conflict(msgspec.Struct, frozen=True):
    """Verdicts of one name that do not agree about the winner: which one stays, and why."""

    kernel: str
    world: str
    key: str
    work_class: str
    stays: Side
    others: list[Side]
    because: str


class Landed(msgspec.Struct, kw_only=True):
    """What came of records, by their names.

    `new` are there now and were not, `replaced` are in the place of one with less evidence, or of
    one that nobody could read, `known` were there, `kept` stayed although another one came.
    `unusable` were not taken: they are not whole, or not in place, or what has their name may not
    be read. `unknown` are of another version, or of no kind that is shared. `conflicts` counts
    names with several verdicts; where winners differ, they are in `winners`.
    """

    new: int = 0
    replaced: int = 0
    known: int = 0
    kept: int = 0
    unusable: int = 0
    unknown: int = 0
    conflicts: int = 0
    winners_differ: int = 0
    winners: list[Conflict] = msgspec.field(default_factory=list)
    problems: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """A record that was looked at, where it is, and what stands behind it."""

    source: str
    record: Result
    data: bytes
    evidence: Evidence


def found(source: str, name: str, data: bytes) -> Found:
    """What a source has under a name. Raises BadRecord."""
    record = checked_result(name, data)
    return Found(source, record, data, evidence(record, data))


def words_of(error: BadRecord | RecordUnreadable) -> str:
    """Why a record cannot be used, for people."""
    if isinstance(error, BadRecord):
        return str(error)
    return f"{error.reason}: {error.detail}" if error.detail else str(error.reason)


class Landing:
    """A store into which records come, and what came of them so far."""

    def __init__(self, store: Store, *, dry_run: bool = False) -> None:
        """`dry_run`: nothing is written, and counted as if it were."""
        self.did = Landed()
        self._store = store
        self._where = store.describe().location
        self._dry_run = dry_run

    def refuse(self, what: str, error: BadRecord | RecordUnreadable) -> None:
        """Count what a source has and cannot be taken."""
        if isinstance(error, BadRecord) and not error.in_the_way:
            self.did.unknown += 1
            return
        self.did.unusable += 1
        if len(self.did.problems) < _TOLD:
            self.did.problems.append(f"{what} is not taken: {words_of(error)}")

    def take(self, name: str, offers: Sequence[Found]) -> None:
        """Let the best of the offers, of one name, and of what is there have the name.

        Raises StoreError where the store as a whole does not do it.
        """
        try:
            for left in reversed(range(_TRIES)):
                held = self._store.get(name)
                ours = None if held is None else self._usable(name, held)
                several = [*offers] if ours is None else [ours, *offers]
                best = max(several, key=lambda one: one.evidence)
                if best is ours or self._dry_run:
                    break
                # Not durable: what a power failure takes is there again when this is repeated.
                if held is None and left:
                    if self._store.put_if_absent(name, best.data, durable=False):
                        break
                    continue  # another process was quicker: what it has put there is compared, too
                # What another process puts there just now is lost, and comes again with the next
                # merge. Removing ours first could lose both to a kill.
                self._store.put(name, best.data, durable=False)
                break
        except (BadRecord, RecordUnreadable) as error:
            self.refuse(name, error)
            return
        did = self.did
        if best is not ours:
            did.new += held is None
            did.replaced += held is not None
        else:
            equal = all(one.data == best.data for one in offers)
            did.known += equal
            did.kept += not equal
        self._compare(best, several)

    def _usable(self, name: str, data: bytes) -> Found | None:
        """What the store has; None for what is of no use to anybody. Raises BadRecord."""
        try:
            return found(self._where, name, data)
        except BadRecord as error:
            if error.in_the_way:
                return None
            raise

    def _compare(self, best: Found, several: Sequence[Found]) -> None:
        """Tell of verdicts that are not the same."""
        verdict = best.record
        others = list({one.data: one for one in several if one.data != best.data}.values())
        if not others or not isinstance(verdict, Verdict):
            return
        self.did.conflicts += 1
        differing = [one for one in others if _winner(one) != verdict.winner]
        if not differing:
            return
        self.did.winners_differ += 1
        if len(self.did.winners) < _TOLD:
            facts, about = facts_of(verdict.key), dict(verdict.key)
            second = max(one.evidence for one in differing)
            self.did.winners.append(
                Conflict(
                    kernel=kernel_label(
                        about.get("kernel.name", "?"), verdict.about.get("kernel.module")
                    ),
                    world=world_text(facts),
                    key=tuning_text(tuning_of(verdict.key)),
                    work_class=verdict.work_class,
                    stays=_side(best),
                    others=[_side(one) for one in differing],
                    because=because(best.evidence, second),
                )
            )


def _winner(one: Found) -> str | None:
    return one.record.winner if isinstance(one.record, Verdict) else None


def _side(one: Found) -> Side:
    assert isinstance(one.record, Verdict)  # as all records of a verdict's name
    measured = {m.candidate: m for m in one.record.measurements}
    winner = measured.get(one.record.winner)
    return Side(one.source, candidate_text(one.record.winner, winner), median(winner))
