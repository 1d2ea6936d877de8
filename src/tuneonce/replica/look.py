"""A look at a replica, for people: whether it answers and how fast, what is there, and what is not.

Nothing is changed, there or here. Records are asked for as a pull asks for them, since a replica
has no other way to tell what it holds, and dropped; where that takes too long, it ends half-way and
says so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec

from ..errors import RecordUnreadable, StoreFull, StoreReadOnly
from ..store.base import Store
from .base import Replica, digest_of
from .exchange import Step, Tell, pages
from .exchange import shelves as shelves_of

COUNT_S = 4.0
"""No page is asked for any more once counting has taken so many seconds. Arbitrary."""

# So often a request is timed.
_TIMES = 3

# So many problems are told; the others are counted.
_TOLD = 20


class Looked(msgspec.Struct, kw_only=True):
    """What was found.

    `first_s` is how long the first answer took, with connecting and all that a client does first,
    `round_trip_s` one that followed, the median of three; both in seconds. `writes` says whether
    records could be pushed, and `refusal` why not; None: that was not tried, since it would leave
    something behind in a remote to which nobody has pushed.

    The others are numbers: of shelves and records there, and of these how many the store `lacks`
    and of how many it has another one (`others`). `beyond` are records of the store that are not
    there. Unless it `is_whole`, not all was counted, and there are more. `unreadable` are packs and
    records there that cannot be read, and `problems` sentences about the first of them.
    """

    first_s: float
    round_trip_s: float
    writes: bool | None = None
    refusal: str = ""
    shelves: int = 0
    records: int = 0
    lacks: int = 0
    others: int = 0
    beyond: int = 0
    is_whole: bool = True
    unreadable: int = 0
    problems: list[str] = msgspec.field(default_factory=list)


def look(
    store: Store,
    replica: Replica,
    *,
    tell: Tell,
    within_s: float = COUNT_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Looked:
    """Look at a replica beside a store. Raises StoreError where the replica cannot be read."""

    def timed() -> float:
        began = clock()
        replica.shelves()
        return clock() - began

    first_s = timed()
    found = Looked(first_s=first_s, round_trip_s=statistics.median(timed() for _ in range(_TIMES)))
    try:
        found.writes = replica.try_writing() or None
    except (StoreReadOnly, StoreFull) as error:
        found.writes, found.refusal = False, str(error)
    until = clock() + within_s
    _count(store, replica, found, tell, lambda: clock() < until)
    return found


def _count(
    store: Store, replica: Replica, found: Looked, tell: Tell, goes_on: Callable[[], bool]
) -> None:
    ours, shelves = shelves_of(store), replica.shelves()
    found.shelves = len(shelves)
    for shelf in shelves:
        there: dict[str, str] = {}
        for page in pages(replica, shelf):
            found.unreadable += len(page.problems)
            found.problems += page.problems[: _TOLD - len(found.problems)]
            # Of one name the last one counts.
            there.update((name, digest_of(data)) for name, data in page.entries)
            tell(Step(found.records + len(there)))
            if page.more and not goes_on():
                found.is_whole = False
                break
        here = {name: _digest(store, name) for name in there}
        found.records += len(there)
        found.lacks += sum(digest is None for digest in here.values())
        found.others += sum(here[n] not in (None, digest) for n, digest in there.items())
        if not found.is_whole:
            return
        found.beyond += sum(name not in there for name in ours.pop(shelf, ()))
        if not goes_on() and shelf != shelves[-1]:
            found.is_whole = False
            return
    found.beyond += sum(map(len, ours.values()))


def _digest(store: Store, name: str) -> str | None:
    """Of what a store has under a name; None where it has nothing that can be read."""
    try:
        data = store.get(name)
    except RecordUnreadable:
        return None
    return None if data is None else digest_of(data)
