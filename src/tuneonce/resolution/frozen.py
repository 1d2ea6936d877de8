"""Answers from a frozen set of winners first (``TUNEONCE_FROZEN``)."""

from __future__ import annotations

from typing import Any

from ..model.frozen import FrozenSet
from ..model.record_names import list_digest
from ..model.records import Measurement
from .resolver import Outcome, Question, Resolution, Resolver


class FrozenResolver(Resolver):
    """A resolver that asks `frozen` first, and the store only for what that does not hold.

    The set holds one winner for a key and a list of candidates, for all sizes of the work. As with
    a stored verdict, it is used only where it is one of the live candidates.
    """

    def __init__(self, *arguments: Any, frozen: FrozenSet | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._frozen = frozen

    def resolve(self, question: Question) -> Resolution:
        return self.from_set(question) or super().resolve(question)

    def from_set(self, question: Question) -> Resolution | None:
        """What the set says; None if nothing, or a winner that the list does not hold."""
        if self._frozen is None:
            return None
        winner = self._frozen.winner(question.key.digest, list_digest(question.digests))
        if winner is None:
            return None
        if winner not in question.digests:
            detail = f"{question.label}: {winner} is no candidate of its list"
            self._events.emit("problem", what="frozen_winner_is_no_candidate", detail=detail)
            return None
        return Resolution(Outcome.HIT, winner, reason="frozen")

    def replace(
        self, question: Question, known: dict[str, Measurement], winner: str, *, wrong: str | None
    ) -> bool:
        """False, too, for what the set answers: a store that is better changes no launch."""
        if self.from_set(question) is not None:
            return False
        return super().replace(question, known, winner, wrong=wrong)
