"""Answers that are the same on every rank and at every start (``TUNEONCE_DETERMINISTIC``).

What is answered depends on the key, the work class, the list of candidates and the set of winners
or the store, and on nothing else: not on which size of the work is launched first, on clocks, on
measurements that another process has just made or left in a journal of this machine. Nothing is
kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model.key import largest_first
from ..model.record_names import class_of_verdict, list_digest, verdict_file
from ..model.records import Measurement, Origin, Sighting, Variants, Verdict
from ..tuning.class_winners import ClassWinners
from ..tuning.selection import by_candidate
from .access import Budget
from .frozen import FrozenResolver
from .resolver import Outcome, Question, Resolution

FIRST_CANDIDATE = "first_candidate"
"""The reason of a miss here: the first candidate that runs is launched, and nothing is measured."""

# Arbitrary: a key has some ten verdicts. Of a folder that holds more, it is chance what is listed.
_NAMES = 2000


@dataclass(frozen=True)
class _Held:
    """What is known of one key and list: the winners, and the verdicts of those that are stored."""

    of_key: ClassWinners
    verdicts: Mapping[str, Verdict]


class DeterministicResolver(FrozenResolver):
    """A resolver whose answers only the set, or without one the store, can change.

    What either has of a key and a list is read once, when they are first asked for.
    """

    answers_ranks = True  # nobody measures, so nobody waits for the others

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._held: dict[tuple[str, str], _Held] = {}

    def resolve(self, question: Question) -> Resolution:
        """The winner of exactly this list, for the question's work class; a miss without one."""
        place = question.key.digest, list_digest(question.digests)
        held = self._held.get(place)
        if held is None:  # of two threads the first is right
            held = self._held.setdefault(place, self._read(question))
        name = self._class_for(question, held.of_key.winners)
        if name is None:
            return Resolution(Outcome.MISS, reason=FIRST_CANDIDATE, of_key=held.of_key)
        verdict, exact = held.verdicts.get(name), name == question.work_class
        outcome = Outcome.HIT if exact else Outcome.PROVISIONAL
        reason: str | None = "frozen"
        known: dict[str, Measurement] = {}
        if verdict is not None:
            known = by_candidate(question.digests, verdict.measurements)
            reason = None if exact else "work_class"
            if verdict.origin == "stock-cache":
                outcome, reason = Outcome.PROVISIONAL, "stock_cache"
        saved_s = 0.0 if verdict is None or reason == "stock_cache" else verdict.tune_s
        winner = held.of_key.winners[name]
        return Resolution(outcome, winner, known, reason, saved_s, of_key=held.of_key)

    def _read(self, question: Question) -> _Held:
        if self._frozen is not None:
            return _Held(ClassWinners(self._frozen_winners(question)), {})
        verdicts = dict(self._stored(question))
        failed = (m for verdict in verdicts.values() for m in verdict.measurements if m.failed)
        winners = {name: verdict.winner for name, verdict in verdicts.items()}
        return _Held(ClassWinners(winners, frozenset(m.candidate for m in failed)), verdicts)

    def _stored(self, question: Question) -> Iterator[tuple[str, Verdict]]:
        """The verdicts that the store has over the question's list, by work class.

        The largest first, and no other where that is for all sizes.
        """
        names = self._access.children(question.key.directory + "/", _NAMES)
        if len(names) >= _NAMES:
            detail = f"{question.label}: {_NAMES} records or more of one key"
            self._events.emit("problem", what="too_many_records", detail=detail)
            return
        digests = question.digests
        classes = {name: found for name in names if (found := class_of_verdict(name)) is not None}
        of_list = [
            name
            for name, work_class in classes.items()
            if name.rpartition("/")[2] == verdict_file(work_class, digests)
        ]
        budget = Budget()
        for name in sorted(of_list, key=lambda name: largest_first(classes[name])):
            verdict = self._access.read(name, Verdict, budget)
            if verdict is not None and verdict.winner in digests:
                yield classes[name], verdict
                if not self._by_class:
                    return

    def settle(self, question: Question, resolution: Resolution) -> Resolution:
        return resolution

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
        """Nothing is published; the winner is this process's own."""
        return winner

    def replace(
        self, question: Question, known: dict[str, Measurement], winner: str, *, wrong: str | None
    ) -> bool:
        return False

    def keep_variants(self, question: Question, variants: Variants) -> None:
        """Nothing is kept."""
