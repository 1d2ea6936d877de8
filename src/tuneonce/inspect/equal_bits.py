"""What a verdict says of its candidates' outputs, for people.

That is what the last tuning that looked at them has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from ..model.key import BITS
from ..model.records import Sighting, Verdict


@dataclass(frozen=True)
class Bits:
    """Of one candidate. `text`: its class of equal bits, ``unsteady`` or ``wrong``.

    `distance`: from those that agree; None for one that is no number.
    """

    text: str
    distance: float | None


class Outputs(msgspec.Struct, frozen=True):
    """What was seen of one key's candidates, and what it costs to keep the first one's bits.

    `classes` of equal bits have those that are steady; none where no candidate equals itself.
    `constant`: the fastest candidate that has the first one's bits, None where no candidate is
    known to equal itself; `fastest`: that of all that ran and are not wrong. Times are in
    milliseconds. `cost`: what the former takes longer, as a share of the latter's time; None where
    either has none.
    """

    looked_at: int
    classes: int
    unsteady: int
    disagrees: bool
    constant: str | None
    constant_ms: float | None
    fastest: str | None
    fastest_ms: float | None
    cost: float | None


def cost_of(constant_ms: float | None, fastest_ms: float | None) -> float | None:
    """What constant bits take longer, as a share of the fastest's time."""
    if constant_ms is None or not fastest_ms:
        return None
    return constant_ms / fastest_ms - 1


def bits_of(verdict: Verdict) -> dict[str, Bits]:
    """By the candidates' digests; nothing where no program has asked for it."""
    last = _last(verdict)
    if last is None:
        return {}
    return {one: Bits(_text(last, one), last.distances.get(one, 0.0)) for one in last.classes}


def outputs_of(verdict: Verdict, times: Mapping[str, float]) -> Outputs | None:
    """What a verdict says of outputs; None where no program has asked for it.

    `times`: medians of those candidates that ran and are not wrong, by digest. Candidates are
    digests.
    """
    last = _last(verdict)
    if last is None and not any(name == f"key.{BITS}" for name, _ in verdict.key):
        return None
    seen = {} if last is None else last.classes
    ran = [one for one in verdict.candidates if one in times]
    constant, fastest = _fastest(_constant(ran, seen), times), _fastest(ran, times)
    constant_ms = None if constant is None else times[constant]
    fastest_ms = None if fastest is None else times[fastest]
    return Outputs(
        looked_at=len(seen),
        classes=len({number for number in seen.values() if number >= 0}),
        unsteady=sum(number < 0 for number in seen.values()),
        disagrees=last is not None and last.disagrees,
        constant=constant,
        constant_ms=constant_ms,
        fastest=fastest,
        fastest_ms=fastest_ms,
        cost=cost_of(constant_ms, fastest_ms),
    )


def _last(verdict: Verdict) -> Sighting | None:
    return max(verdict.sightings or (), key=lambda sighting: sighting.at, default=None)


def _constant(ran: list[str], classes: Mapping[str, int]) -> list[str]:
    """Those that have the first one's bits, of those that are steady."""
    if not ran or ran[0] not in classes:  # what was not looked at has no class but its own
        return ran[:1]
    return [one for one in ran if classes.get(one) == 0]


def _fastest(among: list[str], times: Mapping[str, float]) -> str | None:
    return min(among, key=times.__getitem__, default=None)


def _text(sighting: Sighting, candidate: str) -> str:
    if candidate in sighting.wrong:
        return "wrong"
    number = sighting.classes[candidate]
    return "unsteady" if number < 0 else str(number)
