"""One tuning and its journal (`resolution.journal`): candidates that have ended two processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ...events.log import EventLog
from ...model.codec import digest
from ...resolution.journal import Journals
from ..kernel import device_facts
from .persist import Asked
from .told import Subject

_WHY = "the process ended during its first launch, twice"


class Watched:
    """Leaves out what has ended two processes, and keeps a journal until it is closed.

    Without `journals`, or for a key that is not kept, it does nothing.
    """

    def __init__(
        self, journals: Journals | None, asked: Asked | None, subject: Subject, events: EventLog
    ) -> None:
        self._asked = asked
        if journals is None or asked is None:
            return
        question = asked.question
        # Each user's apart: on a volume that several share, none may write to another's.
        device = digest([device_facts.device_id(), str(os.geteuid())], length=8)
        asked.journal = journals.begin(question.journal, device, question.key.directory)
        for candidate in asked.journal.left_out if asked.journal is not None else ():
            if asked.leave_out(candidate, _WHY):
                named = subject.candidate(question.digests.index(candidate))
                detail = f"{subject.label} {named}: {_WHY}"
                events.emit("problem", what="candidate_ends_the_process", detail=detail)

    @contextlib.contextmanager
    def launching(self, position: int) -> Iterator[None]:
        """The first launch of a candidate."""
        if self._asked is None or self._asked.journal is None:
            yield
        else:
            with self._asked.journal.launching(self._asked.question.digests[position]):
                yield

    def close(self) -> None:
        if self._asked is not None and self._asked.journal is not None:
            self._asked.journal.close()
