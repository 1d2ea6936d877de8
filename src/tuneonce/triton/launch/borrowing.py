"""A launch whose key has no verdict and is not measured: it runs what the nearest key runs.

What is launched is a live candidate of this launch, and at most one is compiled, unless it does not
run:

1. Acceptable are the candidates that were at most twice as slow as the winner at the nearest key.
   Where that is this very key on another GPU, with another compiler or of another source, those
   that were as good as the winner. Where no key is near, all are.
2. Of these the first whose binary for this launch is in memory, then the first whose binary Triton
   finds on disk; the nearest key's winner comes first, then the others by their time there.
3. Else the nearest key's winner; and the first of the author's list where no key is near.

A key that is partly measured is the nearest to itself. The key is noted as wanted in the store, so
that people see what is to be measured; the next start that tunes measures it when it is met.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...model.key import compare
from ...model.nearness import distance, values_by_name
from ...tuning.selection import choose
from ...tuning.siblings import Sibling, times_of
from ..compile.compile_errors import is_passed_over
from ..compile.shipment import Presence, presence_of
from ..kernel.call import launch
from ..kernel.session import Session
from .persistence import Persistence
from .report import candidate_text, key_fields

# A candidate that is no slower than this many times is launched rather than another compiled.
# Arbitrary: a compilation takes as long as a thousand launches and more.
ACCEPTABLE = 2.0
# The same where the nearest key is this very key, measured elsewhere: then its times are worth one
# compilation. A race takes two candidates for equal that are no farther apart.
AS_GOOD = 1.02
# So many of the nearest keys are asked for times, and for so many seconds where binaries are: one
# candidate takes about half a millisecond. Arbitrary.
_ASKED, _WITHIN_S = 3, 0.03


@dataclass(frozen=True)
class _Choice:
    """Candidates by position, in the order in which to launch them. `presence`: of the first."""

    order: Sequence[int]
    presence: Presence = Presence.UNKNOWN
    nearest: Sibling | None = None


class Borrowing:
    """Borrowed winners of one process."""

    def __init__(
        self, persistence: Persistence, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._persistence = persistence
        self._clock = clock

    def choose(self, session: Session, near: Sequence[Sibling], *, wanted: bool) -> None:
        """Fill in what is to be launched. `near`: the nearest keys, whose winners are live.

        `wanted`: the key is to be measured later. Raises nothing.
        """
        choice = _Choice(range(len(session.candidates)))
        with self._persistence.guarded("borrow"):
            choice = self._choice(session, near, very_key=AS_GOOD)
        session.choices = [session.candidates[position] for position in choice.order]
        session.winner = session.choices[0]
        with self._persistence.guarded("borrow"):
            self._tell(session, choice)
        if wanted:
            self.want(session)

    def want(self, session: Session) -> None:
        """Note that a key is to be measured, in the background. Raises nothing."""
        if session.question is not None:
            want = partial(self._persistence.resolver.want, session.question)
            self._persistence.keep("want", want, meanwhile=False, wait_s=0.0)

    def order(self, session: Session, near: Sequence[Sibling]) -> list[int]:
        """The positions of what may be launched, the best to begin with first. Raises nothing.

        For a key whose launches find what is faster.
        """
        choice = _Choice(range(len(session.candidates)))
        with self._persistence.guarded("borrow"):
            choice = self._choice(session, near, very_key=ACCEPTABLE)
        return list(choice.order)

    def launch(self, session: Session) -> Any:
        """Launch the first of the session's choices that runs; what Triton returns.

        Raises what Triton raises, where none runs.
        """
        autotuner, state, stock_key = session.autotuner, session.state, session.stock_key
        for config in session.choices:
            try:
                result = launch(autotuner, config, session.args, session.kwargs)
            except Exception as error:
                if config is session.choices[-1] or not is_passed_over(error):
                    raise
                detail = f"{config}: {error}"
                self._persistence.events.emit("problem", what="winner_does_not_run", detail=detail)
                continue
            if not session.is_settled or session.settled is not config:
                session.winner = config
                session.settle(config)
                if stock_key in state.ours:
                    state.ours[stock_key] = config
            session.remember()
            return result
        raise AssertionError("a session without choices")

    def _choice(self, session: Session, near: Sequence[Sibling], *, very_key: float) -> _Choice:
        """`very_key`: what is acceptable where the nearest key is this one, measured elsewhere."""
        failed = {i for i, one in session.known.items() if one.failed is not None}
        live = [i for i in range(len(session.candidates)) if i not in failed]
        if not live:
            return _Choice(range(len(session.candidates)))
        itself = _partly_measured(session)
        near = near if itself is None else (itself, *near)
        nearest = near[0] if near else None
        slowness = _slowness(session, near)
        most = very_key if nearest is not None and _is_very_key(session, nearest) else ACCEPTABLE
        acceptable = [i for i in live if slowness.get(i, 1.0 if not near else math.inf) <= most]
        acceptable = sorted(acceptable, key=lambda i: (slowness.get(i, 1.0), i)) or live
        first, presence = self._at_hand(session, acceptable)
        rest = sorted(live, key=lambda i: (slowness.get(i, math.inf), i))
        others = (i for i in (*acceptable, *rest) if i != first)
        return _Choice([first, *dict.fromkeys(others)], presence, nearest)

    def _at_hand(self, session: Session, acceptable: Sequence[int]) -> tuple[int, Presence]:
        """The one to launch, and where its binary is."""
        until = self._clock() + _WITHIN_S
        found: dict[Presence, int] = {}
        for position in acceptable:
            presence = presence_of(session, session.candidates[position])
            found.setdefault(presence, position)
            if presence is Presence.IN_MEMORY or self._clock() > until:
                break
        for presence in (Presence.IN_MEMORY, Presence.ON_DISK):
            if presence in found:
                return found[presence], presence
        [presence] = [presence for presence, at in found.items() if at == acceptable[0]]
        return acceptable[0], presence

    def _tell(self, session: Session, choice: _Choice) -> None:
        nearest, question = choice.nearest, session.question
        told: dict[str, Any] = {"nearest": None}
        if nearest is not None and question is not None:
            parts = question.key.parts
            apart = distance(values_by_name(parts), nearest.values)
            differing = [one.part for one in compare(parts, nearest.parts)]
            told = {
                "nearest": nearest.digest,
                "different": apart.different,
                "doublings": round(apart.doublings, 3),
                # What makes it another GPU, compiler or source; what it is tuned by is above.
                "elsewhere": [part for part in differing if not part.startswith("key.")],
            }
        self._persistence.events.emit(
            "borrow",
            **key_fields(session),
            candidate=candidate_text(session, choice.order[0]),
            binary=choice.presence.value,
            **told,
        )


def _partly_measured(session: Session) -> Sibling | None:
    """What is measured of the key itself."""
    question = session.question
    times = times_of(session.measurements.values())
    if question is None or not times:
        return None
    measured = [digest for digest in question.digests if digest in times]
    winner = choose(measured, session.measurements)
    if winner is None:
        return None
    return Sibling(question.key.parts, question.work_class, winner, times)


def _is_very_key(session: Session, other: Sibling) -> bool:
    """Whether another key differs in its GPU, compiler or source alone."""
    question = session.question
    return (
        question is not None
        and other.work_class == question.work_class
        and other.values == values_by_name(question.key.parts)
    )


def _slowness(session: Session, near: Sequence[Sibling]) -> dict[int, float]:
    """By position, how many times slower than the winner at the nearest key that has measured it.

    The nearest key's winner comes before all others.
    """
    found: dict[int, float] = {}
    if session.question is None:
        return found
    digests = session.question.digests
    for one in near[:_ASKED]:
        for position, digest in enumerate(digests):
            if math.isfinite(slower := one.slowness(digest)):
                found.setdefault(position, slower)
    if near:
        found[digests.index(near[0].winner)] = 0.0
    return found
