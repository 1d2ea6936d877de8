"""What is kept and told of the outputs of a key's candidates, once they have raced.

A program hears in one warning of each candidate that is left out for what it writes, or that some
disagree where nobody can be accused; the events tell of everything.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping

from ...events.log import EventLog
from ...model.records import Sighting
from ...model.wording import world, world_text
from ..kernel.session import Session
from ..measure.looking import Looked
from . import report

logger = logging.getLogger("tuneonce")


def sighting_of(session: Session) -> Sighting | None:
    """What a tuning has seen of outputs, by the candidates' digests; None for nothing."""
    looked: Looked | None = session.looked
    question = session.question
    if looked is None or question is None:
        return None
    found = looked.conclusion
    classes = {**dict.fromkeys(found.unsteady, -1), **found.classes}
    if not classes:
        return None
    digests = question.digests
    return Sighting(
        programs=session.work.programs,
        at=time.time(),
        size=looked.size,
        classes={digests[one]: number for one, number in sorted(classes.items())},
        distances={
            digests[one]: apart if math.isfinite(apart) else None
            for one, apart in sorted(found.distances.items())
            if apart != 0
        },
        wrong=[digests[one] for one in sorted(found.wrong)],
        disagrees=found.disagrees,
    )


def tell(events: EventLog, session: Session) -> None:
    """Tell of what a tuning has seen of outputs."""
    looked: Looked | None = session.looked
    if looked is None:
        return
    found = looked.conclusion
    wrong = sorted(found.wrong)
    times = report.times_by_position(session)
    fastest, fastest_ms = _fastest(session, times, looked.ran)
    constant, constant_ms = _fastest(session, times, looked.constant - found.unsteady)
    events.emit(
        "outputs",
        **report.key_fields(session),
        candidates=len(session.candidates),
        ran=len(looked.ran),
        looked_at=len(found.classes) + len(found.unsteady),
        classes=len(set(found.classes.values())),
        unsteady=_texts(session, found.unsteady),
        wrong=_texts(session, wrong),
        apart=_texts(session, found.apart),
        distances=[_number(found.distances[one]) for one in sorted(found.apart)],
        disagrees=found.disagrees,
        left_out=looked.left_out,
        size=looked.size,
        seconds=round(session.spent.get("look_s", 0.0), 6),
        fastest=fastest,
        fastest_ms=fastest_ms,
        constant=constant,
        constant_ms=constant_ms,
    )
    for one in wrong:
        _tell_wrong(events, session, one, found.distances[one])
    if found.disagrees:
        _tell_disagreement(events, session, max(found.distances.values(), default=math.nan))


def _fastest(
    session: Session, times: Mapping[int, float], among: Iterable[int]
) -> tuple[str | None, float | None]:
    """The fastest of these and its time; nothing where none has a time."""
    timed = [one for one in sorted(among) if one in times]
    if not timed:
        return None, None
    best = min(timed, key=times.__getitem__)
    return report.candidate_text(session, best), times[best]


def _texts(session: Session, positions: Iterable[int]) -> list[str]:
    return [report.candidate_text(session, one) for one in sorted(positions)]


def _number(distance: float) -> float | None:
    return float(f"{distance:.6g}") if math.isfinite(distance) else None


def _tell_wrong(events: EventLog, session: Session, position: int, distance: float) -> None:
    candidate = report.candidate_text(session, position)
    detail = f"{session.label} {candidate}: its outputs are {distance:.3g} from the others'"
    events.emit("problem", what="candidate_is_wrong", detail=detail)
    logger.warning(
        "tuneonce: %s (%s): %s writes something else than the other candidates, %.3g of their "
        "size apart, and is not used; it may be compiled wrongly (%s)",
        session.label,
        report.key_text(session),
        candidate,
        distance,
        _where(session),
    )


def _tell_disagreement(events: EventLog, session: Session, distance: float) -> None:
    detail = f"{session.label} {report.key_text(session)}: outputs are up to {distance:.3g} apart"
    events.emit("problem", what="candidates_disagree", detail=detail)
    logger.warning(
        "tuneonce: %s (%s): candidates disagree, what some write is up to %.3g of its size apart. "
        "Which are right is not known, and none is left out (%s)",
        session.label,
        report.key_text(session),
        distance,
        _where(session),
    )


def _where(session: Session) -> str:
    """GPU, target and compiler."""
    question = session.question
    return (
        "a kernel that is not kept" if question is None else world_text(world(question.key.parts))
    )
