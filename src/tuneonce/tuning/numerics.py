"""What is concluded from what candidates wrote: who has equal bits, who is unsteady, who is wrong.

All candidates of a key were launched on the same inputs, each twice. That one differs from another
is then known for good. That two are equal holds for what was seen, and says nothing certain about
other inputs: nothing here is a proof, and nothing says that it is one.

*Equal bits* are a matter of digests. *Far apart* is a matter of distances, between what a candidate
wrote and what was kept of a few others, the *references*. A candidate that is far from all of them
has an *opinion* of its own; any other has that of the first reference that it is near to. It is
wrong if more than half of those that were seen are of one opinion, and it is not, and the author's
first candidate is. If that one stands against the others, nobody is accused: whoever wrote the
kernel chose it.

Candidates are whatever can be told apart, as positions or digests; they come in the author's order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)

# A distance is honest up to so much, by the bits of the coarsest floating-point type that a kernel
# reads or writes: it may round to that type in the middle, as `tl.dot` rounds float32 to ten bits
# of mantissa. These are 4 units of rounding of float8_e4m3, 16 of bfloat16, and 32 of those ten
# bits.
_HONEST = {8: 1 / 4, 16: 1 / 16, 32: 1 / 64, 64: 1 / 64}
# And, for each addition, of which there are at most as many as the largest input has elements,
# eight roundings of a float32 that go in either direction.
_ADDITION = 8 * 2.0**-24
# Never more than this: what was not written at all is 1 apart.
_MOST = 1 / 2

# Where sums cancel nothing but rounding is left, and how much that is depends on what was added up.
# So no block of an output is measured by less than this part of what the kernel reads.
CANCELS = 2.0**-10

REFERENCES = 3
"""How many opinions are kept to be compared with. With one wrong candidate there are two."""


def far_beyond(widths: Iterable[int], elements: int) -> float | None:
    """The distance beyond which two outputs are far apart; None where distances say nothing.

    `widths` are the bits of the floating-point types that a kernel reads and writes, `elements` how
    many its largest tensor has.
    """
    honest = [_HONEST[width] for width in widths if width in _HONEST]
    if not honest:
        return None
    return min(_MOST, max(honest) + _ADDITION * sqrt(elements))


@dataclass(frozen=True)
class Seen(Generic[C]):
    """What one candidate wrote.

    `bits` is the digest of the first time, `steady` whether it was the same the second time.
    `distances` are to the references that there were, the larger of both times. `opinion` is the
    reference that it is near to, or itself; None where it was compared with nothing.
    """

    bits: str
    steady: bool
    distances: Mapping[C, float]
    opinion: C | None


class Panel(Generic[C]):
    """The candidates of one tuning, as they are seen. `far` is what `far_beyond` says."""

    def __init__(self, far: float | None) -> None:
        self._far = far
        self.seen: dict[C, Seen[C]] = {}
        self.references: list[C] = []
        """Those to compare with, in the order in which they came."""

    def add(
        self, candidate: C, bits: str, *, steady: bool, distances: Mapping[C, float], room: bool
    ) -> bool:
        """Take note of a candidate, compared with all references.

        True: what it wrote is to be kept, as a reference from here on; never without `room`.
        """
        kept = room and self.is_new(distances)
        compared = kept or bool(self.references)
        opinion = next(iter(self._near(distances)), candidate) if compared else None
        self.seen[candidate] = Seen(bits, steady, dict(distances), opinion)
        if kept:
            self.references.append(candidate)
        return kept

    def is_new(self, distances: Mapping[C, float]) -> bool:
        """Whether what is so far from the references is to be one, as long as there are few."""
        few = len(self.references) < REFERENCES
        return self._far is not None and few and not self._near(distances)

    def _near(self, distances: Mapping[C, float]) -> list[C]:
        return [one for one in self.references if not self._is_far(distances[one])]

    def _is_far(self, distance: float) -> bool:
        return self._far is None or not distance <= self._far  # also what is no number


@dataclass(frozen=True)
class Conclusion(Generic[C]):
    """What is known of the candidates that were seen.

    `classes`: each steady one's class of equal bits; that of the first in the author's order is 0,
    and the others are numbered as they come. `unsteady` do not even equal themselves. `distances`:
    how far each is from those that agree, or from the first that was seen where these do not.
    `apart` are far from those. They are `wrong`, to be left out, unless it `disagrees`: then nobody
    is accused.
    """

    classes: dict[C, int]
    unsteady: frozenset[C]
    distances: dict[C, float]
    apart: frozenset[C]
    disagrees: bool

    @property
    def wrong(self) -> frozenset[C]:
        """Those that are to be left out."""
        return frozenset() if self.disagrees else self.apart

    @property
    def constant(self) -> frozenset[C]:
        """Those that are of one class of bits: the first steady candidate's.

        Where none is steady no choice makes results constant, and all are as good.
        """
        if not self.classes:
            return self.unsteady
        return frozenset(one for one, number in self.classes.items() if number == 0)


def conclude(order: Sequence[C], seen: Mapping[C, Seen[C]]) -> Conclusion[C]:
    """What follows from what was seen of the candidates of `order`, the author's."""
    found = [one for one in order if one in seen]
    numbers: dict[str, int] = {}
    classes = {
        one: numbers.setdefault(seen[one].bits, len(numbers)) for one in found if seen[one].steady
    }
    unsteady = frozenset(one for one in found if one not in classes)
    opinions = {one: mine for one in found if (mine := seen[one].opinion) is not None}
    held = Counter(opinions.values())
    common, count = held.most_common(1)[0] if held else (None, 0)
    agreed = 2 * count > len(found)
    against = common if agreed else next(iter(opinions.values()), None)
    distances = {} if against is None else {one: _apart(one, against, seen) for one in opinions}
    apart = frozenset(one for one, mine in opinions.items() if mine != against)
    accused = agreed and order[0] in seen and order[0] not in apart
    return Conclusion(classes, unsteady, distances, apart, bool(apart) and not accused)


def _apart(one: C, reference: C, seen: Mapping[C, Seen[C]]) -> float:
    """How far a candidate is from a reference.

    One that came before the reference did was not compared with it; what it agrees with was.
    """
    if one == reference:
        return 0.0
    if reference in seen[one].distances:
        return seen[one].distances[reference]
    mine = seen[one].opinion
    return 0.0 if mine is None else seen[reference].distances.get(mine, 0.0)


# -- over several tunes ----------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """What all that was seen says about a candidate beside the author's first one.

    `equal` and `unequal`: how often both were seen, and its bits were the same or were not; a
    candidate that was unsteady once counts as unequal. `sizes`: the numbers of programs at which
    they were equal, as far as they are known. One inequality refutes, equalities only support.
    """

    equal: int = 0
    unequal: int = 0
    sizes: frozenset[int] = frozenset()

    @property
    def refuted(self) -> bool:
        return self.unequal > 0


def standings(
    first: C, sightings: Iterable[tuple[Mapping[C, int], int | None]]
) -> dict[C, Standing]:
    """How candidates stand beside `first`, over tunes, inputs, sizes, processes and machines.

    A sighting is the classes of one tuning, below zero for the unsteady, and its number of
    programs; where `first` was not seen it says nothing. The order of sightings does not matter.
    """
    found: dict[C, Standing] = {}
    for classes, programs in sightings:
        if first not in classes:
            continue
        for one, number in classes.items():
            old = found.get(one, Standing())
            if number == classes[first] and number >= 0:
                sizes = old.sizes if programs is None else old.sizes | {programs}
                found[one] = Standing(old.equal + 1, old.unequal, sizes)
            else:
                found[one] = Standing(old.equal, old.unequal + 1, old.sizes)
    return found


def refuted(first: C, sightings: Iterable[tuple[Mapping[C, int], int | None]]) -> frozenset[C]:
    """Those that were seen to write other bits than `first`, at least once."""
    return frozenset(one for one, is_at in standings(first, sightings).items() if is_at.refuted)
