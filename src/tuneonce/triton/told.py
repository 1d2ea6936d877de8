"""What events say about a key and its tuning, readable and small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..events import EventLog
from ..progress import Progress, Tuning, shorten
from ..wording import config_text, tuning, tuning_text
from .calls import Cold
from .outcome import Taken
from .persist import Asked
from .tuner import Tuned

# An event is a line that people may read. Arbitrary: twice what a terminal shows of a key.
_KEY_CHARS = 160


def key_text(asked: Asked | None, cold: Cold) -> str:
    """``n=64 x=bf16``; Triton's own key where ours could not be made. Never raises."""
    if asked is not None:
        return shorten(tuning_text(tuning(asked.question.key.parts)), limit=_KEY_CHARS)
    try:
        return shorten(" ".join(map(str, cold.stock_key)), limit=_KEY_CHARS)
    except Exception:  # the text of a value of the program's
        return "?"


def key_fields(asked: Asked | None, cold: Cold) -> dict[str, Any]:
    """Which key an event is about."""
    named = {"key_text": key_text(asked, cold)}
    if asked is None:
        return named
    question = asked.question
    return {"key": question.key.digest, "work_class": question.work_class, **named}


def candidate_text(asked: Asked | None, pruned: Sequence[Any], position: int) -> str:
    """``BLOCK=64 num_warps=4``, as `tuneonce ls` writes it."""
    if asked is None:
        return str(pruned[position])
    return config_text(asked.question.candidates[position].config)


def line(
    progress: Progress, label: str, asked: Asked | None, cold: Cold, pruned: Sequence[Any]
) -> Tuning:
    """The progress line of a tuning."""
    known = 0 if asked is None else sum(m.settled for m in asked.known.values())
    return progress.tuning(label, key_text(asked, cold), total=len(pruned), known=known)


def measure(events: EventLog, label: str, config: Any, taken: Taken) -> None:
    """Tell of one candidate that will not be measured again."""
    events.emit(
        "measure",
        kernel=label,
        candidate=str(config),
        seconds=round(taken.seconds, 6),
        compile_s=round(taken.compile_s, 6),
    )


def tune(
    events: EventLog,
    label: str,
    asked: Asked | None,
    cold: Cold,
    pruned: Sequence[Any],
    winner: Any,
    tuned: Tuned,
) -> None:
    """Tell of a tuning: its key, its winner, where the seconds went, what the choice was between.

    Times are those of the author's first candidate, which an untuned launch would run, of the
    winner and of the slowest that was measured; None where the benchmark gave no such time.
    """
    position = next(i for i, config in enumerate(pruned) if config is winner)
    times = [time for result in tuned.timings.values() if (time := _ms(result)) is not None]
    events.emit(
        "tune",
        kernel=label,
        **key_fields(asked, cold),
        winner=candidate_text(asked, pruned, position),
        first_ms=_time_of(pruned[0], tuned.timings),
        winner_ms=_time_of(winner, tuned.timings),
        worst_ms=max(times, default=None),
        candidates=len(pruned),
        measured=tuned.measured,
        seconds=round(cold.autotuner.bench_time, 6),
        **{name: round(seconds, 6) for name, seconds in tuned.spent.items()},
    )


def _time_of(config: Any, timings: Mapping[Any, Any]) -> float | None:
    return _ms(timings[config]) if config in timings else None


def _ms(result: Any) -> float | None:
    """The median of what a benchmark returned, which may be anything; None for no time."""
    value = result[0] if isinstance(result, (list, tuple)) and result else result
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(float(value), 6)
