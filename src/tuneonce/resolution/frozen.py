"""Answers from a frozen set of winners first (``TUNEONCE_FROZEN``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..model.frozen import FrozenSet
from ..model.record_names import list_digest
from ..model.records import Measurement
from ..tuning.class_winners import largest_class, nearest_class
from .resolver import Outcome, Question, Resolution, Resolver


class FrozenResolver(Resolver):
    """A resolver that asks `frozen` first, and the store only for what that does not hold.

    A launch gets the winner of its own work class, or of the nearest in the set; that of the
    largest with `by_class` off. As with a stored verdict, it is used only where it is one of the
    live candidates.
    """

    def __init__(
        self, *arguments: Any, frozen: FrozenSet | None, by_class: bool = True, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._frozen = frozen
        self._by_class = by_class

    def resolve(self, question: Question) -> Resolution:
        return self.from_set(question) or super().resolve(question)

    def from_set(self, question: Question) -> Resolution | None:
        """What the set says; None if nothing, or only winners that the list does not hold."""
        winners = self._frozen_winners(question)
        name = self._class_for(question, winners)
        return None if name is None else Resolution(Outcome.HIT, winners[name], reason="frozen")

    def _frozen_winners(self, question: Question) -> dict[str, str]:
        """What the set has of the question's key and list, by work class."""
        if self._frozen is None:
            return {}
        found: dict[str, str] = {}
        digests = question.digests
        held = self._frozen.winners_of(question.key.digest, list_digest(digests))
        for work_class, winner in held.items():
            if winner in digests:
                found[work_class] = winner
                continue
            detail = f"{question.label}: {winner} is no candidate of its list"
            self._events.emit("problem", what="frozen_winner_is_no_candidate", detail=detail)
        return found

    def _class_for(self, question: Question, classes: Iterable[str]) -> str | None:
        """Of these classes that whose winner a launch gets."""
        return (
            nearest_class(question.work_class, classes)
            if self._by_class
            else largest_class(classes)
        )

    def replace(
        self, question: Question, known: dict[str, Measurement], winner: str, *, wrong: str | None
    ) -> bool:
        """False, too, for what the set answers: a store that is better changes no launch."""
        if self.from_set(question) is not None:
            return False
        return super().replace(question, known, winner, wrong=wrong)
