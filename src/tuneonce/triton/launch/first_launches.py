"""The first launch of each candidate of a session, which may end the process or hang it.

While a key is tuned, its journal (`resolution.journal`) names the candidate that is launched for
the first time. One that was named there when two processes ended is left out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ...events.log import EventLog
from ...model.codec import digest
from ...resolution.journal import Journals
from ..kernel import device_facts
from ..kernel.session import Session
from .persistence import Persistence
from .report import candidate_text

_WHY = "the process ended during its first launch, twice"


def begin_journal(session: Session, journals: Journals | None, persistence: Persistence) -> None:
    """Begin the journal of a session, and leave out what has ended two processes.

    Nothing without `journals`, or for a key that is not kept, or with a benchmark of ranks.
    """
    question = session.question
    if journals is None or question is None or session.together:
        return
    # Each user's apart: on a volume that several share, none may write to another's.
    device_id = device_facts.device_id(interpreted=session.interpreted)
    device = digest([device_id, str(os.geteuid())], length=8)
    session.journal = journals.begin(question.journal, device, question.key.directory)
    for candidate in session.journal.left_out if session.journal is not None else ():
        if persistence.leave_out(session, candidate, _WHY):
            _tell(persistence.events, session, question.digests.index(candidate))


def _tell(events: EventLog, session: Session, position: int) -> None:
    detail = f"{session.label} {candidate_text(session, position)}: {_WHY}"
    events.emit("problem", what="candidate_ends_the_process", detail=detail)


@contextlib.contextmanager
def first_launch(session: Session, position: int) -> Iterator[None]:
    """The first launch of a candidate is done inside."""
    if session.journal is None or session.question is None:
        yield
    else:
        with session.journal.launching(session.question.digests[position]):
            yield


def close_journal(session: Session) -> None:
    """The tuning has ended without a verdict; what it has measured may be needed."""
    if session.journal is not None:
        session.journal.close()
