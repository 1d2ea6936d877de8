"""What events, and the line on a terminal, say about a session: readable and small."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...events.log import EventLog
from ...events.progress import Progress, Tuning, shorten
from ...model.wording import config_text, tuning, tuning_text
from ..kernel.session import Session
from ..measure.result import Result, first_line
from ..seams import autotuners

# An event is a line that people may read. Arbitrary: twice what a terminal shows of a key.
_KEY_CHARS = 160


def key_text(session: Session) -> str:
    """``n=64 x=bf16``; Triton's own key where ours could not be made. Never raises."""
    if session.question is not None:
        return shorten(tuning_text(tuning(session.question.key.parts)), limit=_KEY_CHARS)
    try:
        return shorten(" ".join(map(_word, session.stock_key)), limit=_KEY_CHARS)
    except Exception:  # the text of a value of the program's
        return "?"


def _word(value: Any) -> str:
    """A value as text; of a tensor its type, since its values would be waited for."""
    return f"<{type(value).__name__}>" if hasattr(value, "data_ptr") else str(value)


def key_fields(session: Session) -> dict[str, Any]:
    """Which key an event is about."""
    named = {"kernel": session.label, "key_text": key_text(session)}
    question = session.question
    if question is None:
        return named
    return {**named, "key": question.key.digest, "work_class": question.work_class}


def candidate_text(session: Session, position: int) -> str:
    """``BLOCK=64 num_warps=4``, as `tuneonce ls` writes it."""
    if session.question is None:
        return str(session.candidates[position])
    return config_text(session.question.candidates[position].config)


def progress_line(session: Session, progress: Progress) -> Tuning:
    """The progress line of a tuning."""
    settled = sum(measurement.settled for measurement in session.known.values())
    total = len(session.candidates)
    return progress.tuning(session.label, key_text(session), total=total, known=settled)


def tell_measured(events: EventLog, session: Session, position: int, result: Result) -> None:
    """Tell of one candidate that will not be measured again."""
    events.emit(
        "measure",
        kernel=session.label,
        candidate=str(session.candidates[position]),
        seconds=round(result.seconds, 6),
        compile_s=round(result.compile_s, 6),
    )


def tell_tuned(events: EventLog, session: Session) -> None:
    """Tell of a tuning: its winner, where the seconds went, what the choice was between.

    Times are those of the author's first candidate, which an untuned launch would run, of the
    winner and of the slowest that was measured; None where the benchmark gave no such time.
    """
    timings, winner = session.timings, session.winner
    events.emit(
        "tune",
        **key_fields(session),
        winner=candidate_text(session, session.position_of(winner)),
        first_ms=_time_of(session.candidates[0], timings),
        winner_ms=_time_of(winner, timings),
        worst_ms=max(_times(timings), default=None),
        candidates=len(session.candidates),
        measured=session.measured,
        seconds=(seconds := round(autotuners.tuning_seconds(session.autotuner), 6)),
        waited_s=seconds,
        **_gained(session),
        **{name: round(seconds, 6) for name, seconds in session.spent.items()},
    )
    # Those that stock would have ended at.
    for position, reason in session.uncompilable.items():
        detail = f"{session.label} {candidate_text(session, position)}: {first_line(reason)}"
        events.emit("problem", what="candidate_does_not_compile", detail=detail)


def _gained(session: Session) -> dict[str, Any]:
    """What the winner of a size saves over that of another one, which would have run."""
    instead_of = session.instead_of
    if instead_of is None:
        return {}
    before, now = (_time_of(one, session.timings) for one in (instead_of, session.winner))
    gained = None if not before or now is None else round(1 - now / before, 4)
    text = candidate_text(session, session.position_of(instead_of))
    return {"instead_of": text, "gained": gained}


def times_by_position(session: Session) -> dict[int, float]:
    """The medians of those that ran, whoever was to win."""
    timings = session.timings
    found = ((i, _time_of(one, timings)) for i, one in enumerate(session.candidates))
    return {position: ms for position, ms in found if ms is not None}


def _times(timings: Mapping[Any, Any]) -> list[float]:
    """The medians of those that ran."""
    return [time for result in timings.values() if (time := _ms(result)) is not None]


def _time_of(config: Any, timings: Mapping[Any, Any]) -> float | None:
    return _ms(timings[config]) if config in timings else None


def _ms(result: Any) -> float | None:
    """The median of what a benchmark returned, which may be anything; None for no time."""
    value = result[0] if isinstance(result, (list, tuple)) and result else result
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(float(value), 6)
