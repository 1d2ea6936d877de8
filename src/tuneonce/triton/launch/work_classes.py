"""Launches of a work class that has no verdict, where its key has one of another.

The winner of the nearest class is an answer for now. What becomes of the class is as with a miss:

=========================  =========================================================================
`tune`                     its candidates race, with the other class's times as what to expect
`explore`                  the nearest winner runs at once, and the class's own launches tune it
`borrow`, `error`, ranks   the nearest winner runs; the class is noted as wanted
while a graph is captured  the nearest winner runs, which is counted; the next launch outside of a
                           capture has the class measured
=========================  =========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...events.log import EventLog
from ..kernel.session import Session
from .misses import Misses
from .persistence import Persistence


class WorkClasses:
    """The classes of one process's keys. The caller holds the autotuner's lock."""

    def __init__(self, persistence: Persistence, misses: Misses) -> None:
        self._persistence, self._misses = persistence, misses

    def is_served(self, session: Session) -> bool:
        """Whether the winner of another class runs, and the store is not asked by this launch.

        Then the session's launches find their own winner, and the store is asked beside; or it
        has a winner: what was read from the store before, or the other class's where nothing
        explores.
        """
        classes, explores = session.classes, self._misses.explores(session)
        if classes is None or not (explores or self._misses.only_serves(session)):
            return False
        serving = _among(session.candidates, classes.for_now(session.work))
        if serving is None:
            return False
        self._persistence.meet(session)
        if session.winner is not None:
            self._persistence.report(session)
            return True
        if not explores:
            session.winner = serving
            self._misses.borrowing.want(session)
            return True
        session.exploring = [session.position_of(serving)]
        session.is_served = True
        return True

    def is_to_be_measured(self, session: Session) -> bool:
        """Whether the winner that is known is of another class, and this one's is to be found.

        Then the session has no winner, or is explored.
        """
        resolution = session.resolution
        if session.classes is None or session.classes.single or resolution is None:
            return False
        if not _is_of_another(session):
            return False
        if self._misses.explores(session):
            session.exploring = [session.position_of(session.winner)]
        elif not self._misses.tunes(session):
            self._misses.borrowing.want(session)
            return False
        session.instead_of, session.winner = session.winner, None
        session.measurements = dict(resolution.here)
        return True

    def serves_another(self, session: Session) -> bool:
        """Whether nothing is measured now, and the winner of another class runs for this one."""
        if session.classes is None or self._misses.tunes(session):
            return False
        session.winner = _among(session.candidates, session.classes.for_now(session.work))
        if session.winner is not None:
            self._misses.borrowing.want(session)
        return session.winner is not None


def captured(session: Session) -> Any:
    """What graphs were captured with before, of a class that is not measured; None if nothing."""
    classes = session.classes
    return None if classes is None else classes.captured.get(session.class_name)


def is_unmeasured(session: Session) -> bool:
    """Whether the store has no winner of the session's own class."""
    if session.winner is None:
        return True
    return session.classes is not None and not session.classes.single and _is_of_another(session)


def capture_unmeasured(session: Session, winner: Any, events: EventLog) -> Any:
    """What a graph is captured with: `winner`, of another size, or what is known here, or the
    first candidate. It is counted."""
    classes, what, detail = session.classes, "provisional_in_capture", session.label
    if winner is None and classes is not None and not session.constant:
        winner = _among(session.candidates, classes.for_now(session.work))
    if winner is None:
        what, winner = "cold_in_capture", session.candidates[0]
    elif classes is not None:
        classes.captured[session.class_name] = winner
        detail = f"{session.label} {session.class_name}"
    events.emit("problem", what=what, detail=detail)
    return winner


def _is_of_another(session: Session) -> bool:
    resolution = session.resolution
    return resolution is not None and resolution.reason == "work_class"


def _among(candidates: Sequence[Any], config: Any) -> Any:
    """The candidate that is this one, or equal to it; None if there is none."""
    if config is None:
        return None
    same = (one for one in candidates if one is config)
    return next(same, None) or next((one for one in candidates if one == config), None)
