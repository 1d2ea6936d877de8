"""Answers that are the same on every rank and at every start (``TUNEONCE_DETERMINISTIC``).

What is answered depends on the key, the list of candidates and the set of winners or the store,
and on nothing else: not on which size of the work is launched first, on clocks, on measurements
that another process has just made or left in a journal of this machine. Nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..model.key import largest_first
from ..model.record_names import class_of_verdict, verdict_file
from ..model.records import Measurement, Origin, Sighting, Variants, Verdict
from ..tuning.selection import by_candidate
from .access import Budget
from .frozen import FrozenResolver
from .resolver import Outcome, Question, Resolution

FIRST_CANDIDATE = "first_candidate"
"""The reason of a miss here: the first candidate that runs is launched, and nothing is measured."""

# Arbitrary: a key has some ten verdicts. Of a folder that holds more, it is chance what is listed.
_NAMES = 2000


class DeterministicResolver(FrozenResolver):
    """A resolver whose answers only the set, or without one the store, can change."""

    answers_ranks = True  # nobody measures, so nobody waits for the others

    def resolve(self, question: Question) -> Resolution:
        """The winner of exactly this list; a miss without one."""
        found = self._stored(question) if self._frozen is None else self.from_set(question)
        return found or Resolution(Outcome.MISS, reason=FIRST_CANDIDATE)

    def _stored(self, question: Question) -> Resolution | None:
        """The verdict of the largest work class, whatever the size of this launch is."""
        names = self._access.children(question.key.directory + "/", _NAMES)
        if len(names) >= _NAMES:
            detail = f"{question.label}: {_NAMES} records or more of one key"
            self._events.emit("problem", what="too_many_records", detail=detail)
            return None
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
                return _resolution(question, verdict)
        return None

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


def _resolution(question: Question, verdict: Verdict) -> Resolution:
    known = by_candidate(question.digests, verdict.measurements)
    found = Resolution(Outcome.HIT, verdict.winner, known, saved_s=verdict.tune_s)
    if verdict.origin == "stock-cache":
        return replace(found, outcome=Outcome.PROVISIONAL, reason="stock_cache", saved_s=0.0)
    if verdict.work_class != question.work_class:
        return replace(found, outcome=Outcome.PROVISIONAL, reason="work_class")
    return found
