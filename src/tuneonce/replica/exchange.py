"""Push and pull: what a store and a replica tell each other.

A push writes nothing here, a pull writes nothing there. Both may be cut off anywhere and made
again: what was done is found done. Neither keeps a note of what it did, since the store and the
replica say it themselves: whoever removes records here has them again at the next pull.

Of two records of one name the one that the replica had first stays, and a pull puts it in the place
of the local one; `shared.settled` says when it is the other way round, or both are put together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from ..errors import RecordUnreadable, StoreUnavailable
from ..model.record_names import PROFILES, ROOT
from ..model.records import BadRecord, pack
from ..store.base import Store
from .base import Entry, Offer, Page, Replica, Taken, digest_of, in_pushes
from .shared import checked, is_result, settled, shelf_of

MOST_PULLED_BYTES = 4 << 30
"""What one pull reads. Arbitrary: 400,000 verdicts. A replica is not to fill a disk."""

# Arbitrary: a page has 8 MiB, or 5,000 names.
_MOST_PAGES = 10_000

# So many problems are told; the others are counted.
_TOLD = 20

PART = 1000
"""So many names are asked for at once, and so many records are held to be pushed."""

# So many records are put off. Arbitrary: machines differ where they measured a key at once.
_PUT_OFF = 1000


class Pushed(msgspec.Struct, kw_only=True):
    """What a push did, in records.

    `new` are there now and were not, `replaced` are in the place of another one, `known` were there
    already, `others` are under a name for which the replica has another one, which stays. Those
    that are `unusable` were not pushed: they are not whole, or may not be read.
    """

    new: int = 0
    replaced: int = 0
    known: int = 0
    others: int = 0
    unusable: int = 0
    problems: list[str] = msgspec.field(default_factory=list)


class Pulled(msgspec.Struct, kw_only=True):
    """What a pull did, in records.

    `new` are here now and were not, `adopted` are in the place of another one, or were put together
    with it, `known` were here already, `kept` stayed although the replica has another one. Those
    that are `unusable` were not taken: they are not whole, or of a kind that is not shared.
    """

    new: int = 0
    adopted: int = 0
    known: int = 0
    kept: int = 0
    unusable: int = 0
    problems: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """How far a push or pull is: records looked at so far, and of how many where that is known."""

    records: int
    of: int | None = None


Tell = Callable[[Step], None]


def _nobody(step: Step) -> None:
    pass


def push(store: Store, replica: Replica, *, tell: Tell = _nobody) -> Pushed:
    """Push what the replica lacks. Raises StoreError."""
    done, by_shelf, records = Pushed(), shelves(store), 0
    total = sum(len(names) for names in by_shelf.values())
    for shelf, names in sorted(by_shelf.items()):
        for count in push_names(store, replica, shelf, names, done):
            records += count
            tell(Step(records, total))
    return done


def push_names(
    store: Store, replica: Replica, shelf: str, names: Sequence[str], done: Pushed
) -> Iterator[int]:
    """Push what the replica lacks of these, in parts; yields how many names each part had.

    Raises StoreError.
    """
    for start in range(0, len(names), PART):
        part = names[start : start + PART]
        held = replica.holds(shelf, part)
        for offers in in_pushes(_offers(store, part, held, done)):
            _push(replica, shelf, offers, done)
        yield len(part)


def shelves(store: Store) -> dict[str, list[str]]:
    """The names of all that is to be shared, by shelf."""
    found: dict[str, list[str]] = {}
    for name in itertools.chain(store.list(ROOT), store.list(PROFILES)):
        shelf = shelf_of(name)
        if shelf is not None:
            found.setdefault(shelf, []).append(name)
    return {shelf: sorted(names) for shelf, names in found.items()}


def _offers(
    store: Store, names: Sequence[str], held: dict[str, str], done: Pushed
) -> Iterator[Offer]:
    for name in names:
        try:
            data = store.get(name)
            if data is None:  # removed since it was listed
                continue
            if held.get(name) == digest_of(data):
                done.known += 1
                continue
            checked(name, data)
        except (BadRecord, RecordUnreadable) as error:
            done.unusable += 1
            _tell(done.problems, f"{name} is not pushed: {error}")
            continue
        yield Offer(name, data)


def _push(replica: Replica, shelf: str, offers: Sequence[Offer], done: Pushed) -> None:
    answers = replica.push(shelf, offers)
    done.new += answers.count(None)
    better: list[Offer] = []
    for offer, taken in zip(offers, answers, strict=True):
        if taken is None:
            continue
        if taken.data == offer.data:
            done.known += 1
        elif (data := _over(offer, taken)) is None:
            done.others += 1
        else:
            better.append(Offer(offer.name, data, over=taken.digest))
    # Once: where another has replaced it meanwhile, that one stays. In parts again, since two that
    # were put together are larger than one.
    for part in in_pushes(better):
        again = replica.push(shelf, part)
        done.replaced += again.count(None)
        done.others += len(again) - again.count(None)


def _over(offer: Offer, taken: Taken) -> bytes | None:
    """What is to be in the place of what a replica has; None if that stays.

    What nobody can use does not.
    """
    if taken.data is None:
        return offer.data
    try:
        stays = _settled(offer.name, offer.data, taken.data)
    except BadRecord:
        return offer.data
    return None if stays == taken.data else stays


def _settled(name: str, ours: bytes, theirs: bytes) -> bytes:
    """What stays of two records of one name. Raises BadRecord if either cannot be used."""
    one, other = checked(name, ours), checked(name, theirs)
    stays = settled(one, other)
    # As it was written, which need not be as it would be written here.
    return ours if stays is one else theirs if stays is other else pack(stays)


def pull(store: Store, replica: Replica, *, tell: Tell = _nobody) -> Pulled:
    """Take what the store lacks, and what the replica had first. Raises StoreError."""
    done, records, left = Pulled(), 0, MOST_PULLED_BYTES
    for shelf in replica.shelves():
        for page in pages(replica, shelf):
            for _name, data in take_page(store, shelf, page, done):
                left -= len(data)
                records += 1
            if page.entries:
                tell(Step(records))
            if left < 0:
                raise StoreUnavailable(
                    f"{replica.describe().url} holds more than is pulled at once "
                    f"({MOST_PULLED_BYTES >> 30} GiB); what was pulled so far stays",
                    store=replica.describe().url,
                )
    return done


def pages(replica: Replica, shelf: str, since: str = "") -> Iterator[Page]:
    """What came to a shelf since then, a bounded number of pages. Raises StoreError."""
    for _ in range(_MOST_PAGES):
        page = replica.pull(shelf, since)
        yield page
        if not page.more or page.cursor == since:
            return
        since = page.cursor


def take_page(
    store: Store, shelf: str, page: Page, done: Pulled, *, put_off: dict[str, bytes] | None = None
) -> Iterator[Entry]:
    """Take what a page has, and yield it. Raises StoreError.

    A result that would replace another is `put_off`, where that is given (`adopt`).
    """
    done.unusable += len(page.problems)
    for problem in page.problems:
        _tell(done.problems, problem)
    # Of one name the last one counts.
    for name, data in dict(page.entries).items():
        _take(store, shelf, name, data, done, put_off)
        yield Entry(name, data)


def adopt(store: Store, name: str, data: bytes) -> None:
    """Take a record that was put off. Raises StoreError."""
    _take(store, shelf_of(name) or "", name, data, Pulled(), None)


def _take(
    store: Store,
    shelf: str,
    name: str,
    data: bytes,
    done: Pulled,
    put_off: dict[str, bytes] | None,
) -> None:
    try:
        if shelf_of(name) != shelf:
            raise BadRecord("misplaced", f"it is on the shelf {shelf}")
        # Before it is checked, which takes longer: most often it is here already.
        if _is_here(store, name, data):
            done.known += 1
            return
        checked(name, data)
        # Not durable: what a power failure takes is pulled again, as all of it is.
        if store.put_if_absent(name, data, durable=False):
            done.new += 1
            return
        ours = store.get(name)
    except (BadRecord, RecordUnreadable) as error:
        done.unusable += 1
        _tell(done.problems, f"{name} is not taken: {error}")
        return
    if ours == data:  # another process has just pulled it
        done.known += 1
        return
    try:
        stays = data if ours is None else _settled(name, ours, data)
    except BadRecord:  # ours, which is mended thereby
        stays, ours = data, None
    if stays == ours:
        done.kept += 1
        return
    if ours is not None and put_off is not None and is_result(name):
        if len(put_off) < _PUT_OFF:
            put_off[name] = data
        done.kept += 1
        return
    store.put(name, stays, durable=False)
    done.adopted += 1


def _is_here(store: Store, name: str, data: bytes) -> bool:
    """Whether a store has just this. Raises RecordUnreadable, and BadRecord for a bad name."""
    try:
        return store.get(name) == data
    except ValueError as error:
        raise BadRecord("misplaced", str(error)) from error


def _tell(problems: list[str], problem: str) -> None:
    if len(problems) < _TOLD:
        problems.append(problem)
