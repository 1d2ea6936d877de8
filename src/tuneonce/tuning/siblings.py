"""What a process knows of the keys of one kernel: which are near, and whether they ever stop.

*Near*: by the parts of the key, `model.nearness`, and by work classes. A class is two doublings of
the programs, so one class apart counts as much as two doublings of a number. Ties are broken by
what every process sees alike.

*Never stops*: an argument that Triton tunes by is always new, as a number of tokens is. It is told
by more than `MANY` keys that differ in the number of this one argument and in nothing else. The
next such keys share the verdict of the nearest sibling, as long as siblings agree: those on both
sides of the new number (or the nearest ones, where there is only one side) have one winner, or
each one's winner is as fast as the other's where that was measured. A number that is far from all
others asks for a measurement of its own. So what is tuned is the neighbourhood of each number where
the winner changes; and no more than `MOST_TUNED` keys of one argument are tuned in a process.

Not thread-safe: the autotuner's lock is held.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from ..model.key import Parts, class_distance
from ..model.nearness import Distance, distance, number, values_by_name
from ..model.record_names import parts_digest
from ..model.records import Measurement, Verdict
from ..system.forks import lazy

# All arbitrary. More keys than `MANY` that differ in one argument: it does not stop. A model that
# has a dozen widths has each of them tuned, as with stock.
MANY = 16
# So many siblings must agree, and so many keys of one argument are tuned where they do not.
WITNESSES, MOST_TUNED = 3, 64
# Winners agree that are no slower than this on each other's measurements: a verdict's own winner
# may be 2 % slower than the fastest, and its times are a few passes'.
AGREE = 0.05
# Farther than so many doublings, or classes of work, a sibling says nothing of a number.
REACH, CLASSES = 1.0, 1
# Siblings and groups of keys that are kept of one kernel.
MOST_KNOWN, MOST_GROUPS = 256, 512


@dataclass(frozen=True)
class Sibling:
    """A key that was measured: its parts, its winner's digest and the times by candidate, in ms.

    `times` are of those that ran. `work_class` is that of the launch they were measured at.
    """

    parts: Parts
    work_class: str
    winner: str
    times: Mapping[str, float] = field(default_factory=dict)

    @lazy
    def values(self) -> dict[str, str]:
        return values_by_name(self.parts)

    @lazy
    def digest(self) -> str:
        return parts_digest(self.parts)

    @lazy
    def place(self) -> Parts:
        """The kernel's source and the world."""
        return _place(self.parts)

    @lazy
    def groups(self) -> list[tuple[str, str]]:
        return _groups_of(self.parts)

    def among(self, live: Collection[str]) -> Sibling | None:
        """The same over these candidates alone: its winner, or else the fastest of them that ran.

        None where none of them did.
        """
        if self.winner in live:
            return self
        times = {candidate: ms for candidate, ms in self.times.items() if candidate in live}
        if not times:
            return None
        return replace(self, winner=min(times, key=lambda c: (times[c], c)), times=times)

    def slowness(self, candidate: str) -> float:
        """How many times slower than the winner; infinite for what was not measured."""
        best = self.times.get(self.winner, math.inf)
        return self.times.get(candidate, math.inf) / best if math.isfinite(best) else math.inf


def sibling_of(verdict: Verdict) -> Sibling:
    """What a verdict says of its key."""
    parts = tuple((name, text) for name, text in verdict.key)
    return Sibling(parts, verdict.work_class, verdict.winner, times_of(verdict.measurements))


def times_of(measurements: Iterable[Measurement]) -> dict[str, float]:
    """The median of each candidate that ran, in milliseconds."""
    return {m.candidate: m.times[0] for m in measurements if m.failed is None and m.times[0] > 0}


@dataclass(frozen=True)
class Endless:
    """An argument that is always new: `count` keys differ in it alone, as far as they are kept."""

    argument: str
    count: int


def by_nearness(parts: Parts, work_class: str, known: Iterable[Sibling]) -> list[Sibling]:
    """The nearest first, in an order that is the same for every process."""
    ours = values_by_name(parts)

    def rank(other: Sibling) -> tuple[Any, ...]:
        apart = distance(ours, other.values)
        total = apart.doublings + 2 * class_distance(work_class, other.work_class)
        name = other.digest, other.work_class, other.winner
        return (apart.different, total, apart.doublings, *name)

    return sorted(known, key=rank)


def adapted(known: Iterable[Sibling], live: Collection[str]) -> list[Sibling]:
    """Those that have something to say of the candidates that are live, and what that is."""
    found = (one.among(live) for one in known)
    return [one for one in found if one is not None]


class Siblings:
    """The keys of one kernel that this process has met."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], Sibling] = {}
        self._unsorted: deque[Sibling] = deque(maxlen=MOST_KNOWN)
        self._groups: dict[str, set[str]] = {}
        self._endless: set[str] = set()
        self._tuned: Counter[str] = Counter()
        self._recent: tuple[Parts, list[tuple[str, str]]] = ((), [])
        self.read: set[str] = set()
        """The worlds whose siblings in the store are known."""

    def learn(self, sibling: Sibling) -> None:
        """A key was measured, here or by whoever stored its verdict."""
        self._unsorted.append(sibling)
        known = self._known
        # Verdicts over other lists of candidates stay beside each other.
        name = sibling.digest, sibling.work_class, sibling.winner
        known.pop(name, None)
        known[name] = sibling
        if len(known) > MOST_KNOWN:
            del known[next(iter(known))]

    def nearest(self, parts: Parts, work_class: str, live: Collection[str]) -> list[Sibling]:
        """Those of this kernel's source and world, over live candidates, the nearest first."""
        place = _place(parts)
        here = [one for one in self._known.values() if one.place == place]
        return by_nearness(parts, work_class, adapted(here, live))

    # -- keys that never stop ----------------------------------------------------------------

    def meet(self, parts: Parts) -> Endless | None:
        """A key without a verdict. Returns the argument that is found to be endless, once."""
        while self._unsorted:
            self._enter(self._unsorted.popleft().parts)
        groups = self._enter(parts)
        for argument, others in groups:
            if argument not in self._endless and len(self._groups.get(others, ())) > MANY:
                self._endless.add(argument)
                return Endless(argument.removeprefix("key."), len(self._groups[others]))
        return None

    def is_endless(self, parts: Parts) -> bool:
        """Whether the key has an argument that is always new."""
        return any(argument in self._endless for argument, _ in self._groups_of(parts))

    def share(self, parts: Parts, work_class: str, live: Collection[str]) -> Sibling | None:
        """The sibling whose verdict this key shares; None for one that must be measured.

        Counts those that must be.
        """
        disagreeing = []
        for argument, others in self._groups_of(parts):
            if argument not in self._endless:
                continue
            kin = [
                one
                for one in self._known.values()
                if one.winner in live and (argument, others) in one.groups
            ]
            family = by_nearness(parts, work_class, kin)
            if family and self._tuned[argument] >= MOST_TUNED:
                return family[0]
            if _agree(_witnesses(argument, parts, work_class, family)):
                return family[0]
            disagreeing.append(argument)
        self._tuned.update(disagreeing)
        return None

    def _enter(self, parts: Parts) -> list[tuple[str, str]]:
        groups = self._groups_of(parts)
        for argument, others in groups:
            if others not in self._groups:
                if len(self._groups) >= MOST_GROUPS:
                    continue
                self._groups[others] = set()
            group = self._groups[others]
            if len(group) <= MANY:
                group.add(dict(parts)[argument])
        return groups

    def _groups_of(self, parts: Parts) -> list[tuple[str, str]]:
        """Those of the key at hand are made once."""
        if self._recent[0] is not parts:
            self._recent = parts, _groups_of(parts)
        return self._recent[1]


def _groups_of(parts: Parts) -> list[tuple[str, str]]:
    """By each argument that is a number: its name, and a digest of it and all that is beside it.

    The type of the number is beside it.
    """
    return [
        (name, parts_digest((n, text if n != name else type(value).__name__) for n, text in parts))
        for name, one in parts
        if (value := number(name, one)) is not None
    ]


def _place(parts: Parts) -> Parts:
    return tuple(part for part in parts if not part[0].startswith("key."))


def _witnesses(
    argument: str, parts: Parts, work_class: str, family: Sequence[Sibling]
) -> Sequence[Sibling]:
    """Those that must agree: the nearest on both sides, and the next; none where all are far."""
    if len(family) < WITNESSES:
        return ()
    near = distance(values_by_name(parts), family[0].values)
    if near > Distance(0, REACH) or class_distance(work_class, family[0].work_class) > CLASSES:
        return ()
    value = _value(argument, parts)
    below = [one for one in family if _value(argument, one.parts) <= value]
    above = [one for one in family if _value(argument, one.parts) > value]
    chosen = {(one.digest, one.work_class): one for one in (*below[:1], *above[:1], *family)}
    return list(chosen.values())[:WITNESSES]


def _value(argument: str, parts: Parts) -> float:
    found = number(argument, dict(parts)[argument])
    assert found is not None
    return found


def _agree(witnesses: Sequence[Sibling]) -> bool:
    return len(witnesses) >= WITNESSES and all(
        one.winner == other.winner
        or max(one.slowness(other.winner), other.slowness(one.winner)) <= 1 + AGREE
        for one, other in combinations(witnesses, 2)
    )
