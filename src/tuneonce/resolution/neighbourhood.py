"""What a store says of a key that has no verdict: the verdicts of its neighbours.

How much of a store one key may ask for is bounded in names, records, bytes and seconds; a record
that was read is kept in memory for the other keys of its kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model.key import Key
from ..model.record_names import class_of_verdict
from ..model.records import Verdict, Wanted
from ..tuning.priors import Prior, distance_of_place, expect, neighbours
from ..tuning.siblings import Sibling, adapted, by_nearness, sibling_of
from .access import Access, Budget

# So many seconds a far store is asked for what is expected of a key, which only orders and prunes a
# race, and for the keys beside it. Arbitrary; both take milliseconds on a disk.
_EXPECTED_S, _SIBLINGS_S = 0.5, 0.25

# So many verdicts that were read are kept in memory. Arbitrary: those of one kernel are some
# hundred.
_KEPT = 128

# Arbitrary: of so many keys of a kernel in one world the verdicts are read, so many names of each;
# and no key is kept as wanted where a kernel has so many keys in one world.
_SIBLINGS, _NAMES, _KEYS = 64, 256, 1024


class Neighbourhood:
    """The neighbours of keys in one store. Thread-safe."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._read_before: dict[str, Verdict] = {}

    def expected(self, key: Key, work_class: str, candidates: Sequence[str]) -> Prior[str]:
        """What verdicts that do not hold for a key let expect of its candidates."""
        budget = Budget.of_seconds(_EXPECTED_S)
        return expect(
            key,
            work_class,
            candidates,
            children=lambda prefix, limit: self._access.children(prefix, limit, budget),
            read=lambda name: self._read(name, budget),
        )

    def siblings(self, key: Key) -> list[Sibling]:
        """The keys of this source and world that have a verdict: some, where there are many."""
        budget = Budget.of_seconds(_SIBLINGS_S)
        folders = sorted(self._access.children(_world_of(key), _SIBLINGS, budget))
        names = (
            name
            for folder in folders
            if folder.endswith("/")
            for name in sorted(self._access.children(folder, _NAMES, budget))
            if class_of_verdict(name) is not None
        )
        read = (self._read(name, budget) for name in names)
        return [sibling_of(verdict) for verdict in read if verdict is not None]

    def elsewhere(self, key: Key, work_class: str, candidates: Sequence[str]) -> list[Sibling]:
        """Keys of other worlds and sources that have something to say of these candidates.

        Those of the nearest places first, the same source before others; of places that are equally
        near, the nearest keys. Every process finds the same order.
        """
        budget = Budget.of_seconds(_SIBLINGS_S)
        places = neighbours(
            key,
            work_class,
            children=lambda prefix, limit: self._access.children(prefix, limit, budget),
            read=lambda name: self._read(name, budget),
        )
        names = dict.fromkeys((*places.near, *places.far))  # some are both
        read = (self._read(name, budget) for name in names)
        found = [sibling_of(verdict) for verdict in read if verdict is not None]
        nearest = by_nearness(key.parts, work_class, adapted(found, candidates))
        return sorted(nearest, key=lambda one: distance_of_place(key, one.parts))

    def want(self, key: Key, wanted: Wanted) -> bool:
        """Keep that a key is to be measured. False: its kernel has too many, or the store fails."""
        there = self._access.children(_world_of(key), _KEYS)
        if len(there) >= _KEYS and f"{key.directory}/" not in there:
            return False
        name = key.wanted_name(wanted.work_class, wanted.candidates)
        return self._access.put(name, wanted, only_if_absent=True, durable=False) is not None

    def _read(self, name: str, budget: Budget) -> Verdict | None:
        if (verdict := self._read_before.get(name)) is None:
            verdict = self._access.read(name, Verdict, budget)
            if verdict is not None:
                if len(self._read_before) >= _KEPT:
                    self._read_before.clear()
                self._read_before[name] = verdict
        return verdict


def _world_of(key: Key) -> str:
    return key.directory.rpartition("/")[0] + "/"
