"""Which of two records of one name says more, where neither was there first.

Stores that are merged and files that are imported know no first: the same records must give the
same store, in whatever order they come. So what decides is in the records alone.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from .records import WRONG, Measurement, Variants, Verdict


class Evidence(NamedTuple):
    """How much stands behind a record. The greater of two stays; the first field that differs
    decides, and equal ones are of the same bytes.

    `rechecked`: a verdict that was put in the place of a wrong one. `usable`: candidates of its
    list that ran and whose measurement was finished, also those that were wrong; those of a key's
    compiled variants; 1 for such a measurement. `seen`: candidates whose outputs were looked at, in
    the tuning that has looked at most. `samples`: of all candidates that ran, as far as benchmarks
    say how many they took, else 0. `at`: when it was written, in seconds since 1970. `sha256` is
    that of its bytes, and has no meaning: it makes one of two that are equal in all else stay
    everywhere.
    """

    rechecked: bool
    usable: int
    seen: int
    samples: int
    at: float
    sha256: str


def evidence(record: Verdict | Measurement | Variants, data: bytes) -> Evidence:
    """What stands behind a record, whose bytes are `data`.

    This is an order: whoever keeps the greatest keeps the same one, however the records are
    grouped and in whatever order they are compared.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    if isinstance(record, Variants):
        return Evidence(False, len(record.each), 0, 0, record.recorded_at, sha256)
    if isinstance(record, Measurement):
        usable, samples = _counts([record])
        return Evidence(False, usable, 0, samples, record.measured_at, sha256)
    measured = {m.candidate: m for m in record.measurements}
    usable, samples = _counts([measured[c] for c in {*record.candidates} if c in measured])
    seen = max((len(sighting.classes) for sighting in record.sightings or ()), default=0)
    at = record.published_at
    return Evidence(record.origin == "rechecked", usable, seen, samples, at, sha256)


def _counts(measurements: list[Measurement]) -> tuple[int, int]:
    ran = [m for m in measurements if m.failed is None or m.failed.startswith(WRONG)]
    return sum(m.settled for m in ran), sum(m.samples for m in ran)


_WORDS = {
    "rechecked": "it was put in the place of a wrong one",
    "usable": "more of its candidates were measured",
    "seen": "the outputs of more of its candidates were looked at",
    "samples": "it is of more samples",
    "at": "it is newer",
    "sha256": "one of two equals, by its digest",
}


def because(stays: Evidence, goes: Evidence) -> str:
    """Why the greater of two stays, for people."""
    pairs = zip(Evidence._fields, stays, goes, strict=True)
    return _WORDS[next(name for name, one, other in pairs if one != other)]
