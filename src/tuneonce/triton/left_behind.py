"""One tuning under a mark (`tuneonce.triton.marks`): candidates that have ended two processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..codec import digest
from ..events import EventLog
from . import probe
from .marks import Mark, Marks
from .persist import Asked
from .told import Subject

_WHY = "the process ended during its first launch, twice"


class Watched:
    """Leaves out what has ended two processes, and marks first launches until it is closed.

    Without `marks`, or for a key that is not kept, it does nothing.
    """

    def __init__(
        self, marks: Marks | None, asked: Asked | None, subject: Subject, events: EventLog
    ) -> None:
        self._mark: Mark | None = None
        self._asked = asked
        if marks is None or asked is None:
            return
        question = asked.question
        place = digest([question.key.digest, question.work_class, probe.device_id()], length=24)
        self._mark = marks.begin(place)
        for candidate in self._mark.left_out if self._mark is not None else ():
            if asked.leave_out(candidate, _WHY):
                named = subject.candidate(question.digests.index(candidate))
                detail = f"{subject.label} {named}: {_WHY}"
                events.emit("problem", what="candidate_ends_the_process", detail=detail)

    @contextlib.contextmanager
    def launching(self, position: int) -> Iterator[None]:
        """The first launch of a candidate."""
        if self._mark is None or self._asked is None:
            yield
        else:
            with self._mark.launching(self._asked.question.digests[position]):
                yield

    def close(self) -> None:
        if self._mark is not None:
            self._mark.close()
