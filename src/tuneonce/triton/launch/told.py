"""What events say about a key and its tuning, readable and small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...events.log import EventLog
from ...events.progress import Progress, Tuning, shorten
from ...model.wording import config_text, tuning, tuning_text
from ..kernel.call import Cold
from ..kernel.identity import name_of
from ..measure.result import Taken, first_line
from ..measure.tuner import Tuned
from .persist import Asked

# An event is a line that people may read. Arbitrary: twice what a terminal shows of a key.
_KEY_CHARS = 160


@dataclass(frozen=True)
class Subject:
    """One key that is being tuned or checked; `asked` is None where ours could not be made."""

    asked: Asked | None
    cold: Cold
    pruned: Sequence[Any]

    @property
    def label(self) -> str:
        """The kernel."""
        return name_of(self.cold.autotuner.fn) if self.asked is None else self.asked.label

    @property
    def key_text(self) -> str:
        """``n=64 x=bf16``; Triton's own key where ours could not be made. Never raises."""
        if self.asked is not None:
            return shorten(tuning_text(tuning(self.asked.question.key.parts)), limit=_KEY_CHARS)
        try:
            return shorten(" ".join(map(str, self.cold.stock_key)), limit=_KEY_CHARS)
        except Exception:  # the text of a value of the program's
            return "?"

    def fields(self) -> dict[str, Any]:
        """Which key an event is about."""
        named = {"kernel": self.label, "key_text": self.key_text}
        if self.asked is None:
            return named
        question = self.asked.question
        return {**named, "key": question.key.digest, "work_class": question.work_class}

    def candidate(self, position: int) -> str:
        """``BLOCK=64 num_warps=4``, as `tuneonce ls` writes it."""
        if self.asked is None:
            return str(self.pruned[position])
        return config_text(self.asked.question.candidates[position].config)

    def line(self, progress: Progress) -> Tuning:
        """The progress line of a tuning."""
        known = {} if self.asked is None else self.asked.known
        settled = sum(measurement.settled for measurement in known.values())
        return progress.tuning(self.label, self.key_text, total=len(self.pruned), known=settled)

    def measured(self, events: EventLog, position: int, taken: Taken) -> None:
        """Tell of one candidate that will not be measured again."""
        events.emit(
            "measure",
            kernel=self.label,
            candidate=str(self.pruned[position]),
            seconds=round(taken.seconds, 6),
            compile_s=round(taken.compile_s, 6),
        )

    def tuned(self, events: EventLog, winner: Any, tuned: Tuned) -> None:
        """Tell of a tuning: its winner, where the seconds went, what the choice was between.

        Times are those of the author's first candidate, which an untuned launch would run, of the
        winner and of the slowest that was measured; None where the benchmark gave no such time.
        """
        position = next(i for i, config in enumerate(self.pruned) if config is winner)
        times = [time for result in tuned.timings.values() if (time := _ms(result)) is not None]
        events.emit(
            "tune",
            **self.fields(),
            winner=self.candidate(position),
            first_ms=_time_of(self.pruned[0], tuned.timings),
            winner_ms=_time_of(winner, tuned.timings),
            worst_ms=max(times, default=None),
            candidates=len(self.pruned),
            measured=tuned.measured,
            seconds=round(self.cold.autotuner.bench_time, 6),
            **{name: round(seconds, 6) for name, seconds in tuned.spent.items()},
        )

    def uncompilable(self, events: EventLog, tuned: Tuned) -> None:
        """Tell of candidates that stock would have ended at."""
        for position, reason in tuned.uncompilable.items():
            detail = f"{self.label} {self.candidate(position)}: {first_line(reason)}"
            events.emit("problem", what="candidate_does_not_compile", detail=detail)


def _time_of(config: Any, timings: Mapping[Any, Any]) -> float | None:
    return _ms(timings[config]) if config in timings else None


def _ms(result: Any) -> float | None:
    """The median of what a benchmark returned, which may be anything; None for no time."""
    value = result[0] if isinstance(result, (list, tuple)) and result else result
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(float(value), 6)
