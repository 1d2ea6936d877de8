"""What a verdict says of its candidates' outputs, for people.

That is what the last tuning that looked at them has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model.records import Sighting, Verdict


@dataclass(frozen=True)
class Bits:
    """Of one candidate. `text`: its class of equal bits, ``unsteady`` or ``wrong``.

    `distance`: from those that agree; None for one that is no number.
    """

    text: str
    distance: float | None


def bits_of(verdict: Verdict) -> dict[str, Bits]:
    """By the candidates' digests; nothing where no program has asked for it."""
    if not verdict.sightings:
        return {}
    last = max(verdict.sightings, key=lambda sighting: sighting.at)
    return {one: Bits(_text(last, one), last.distances.get(one, 0.0)) for one in last.classes}


def _text(sighting: Sighting, candidate: str) -> str:
    if candidate in sighting.wrong:
        return "wrong"
    number = sighting.classes[candidate]
    return "unsteady" if number < 0 else str(number)
