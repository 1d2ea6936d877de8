"""What every replica promises: the records of many stores, kept once, in shelves.

A replica is a copy that machines share of what they keep in their own directories. No launch asks
it: what is new there is *pulled* into the local store, and what is new here is *pushed*, by a
process that does nothing else. So a replica may be far, slow or gone, and costs sharing only.

It holds records under the names that a store has them under (`store.base`), in *shelves*: a shelf
is what is asked for together, all records of one world (`shared`). Of each name it holds one
record, and **the first that was pushed stays**: everybody pulls that one. Only whoever names what
is there may replace it (`Offer.over`): a verdict that was proven wrong, or a record that nobody
can read.

Readers follow a shelf by a *cursor*, a text that only the replica understands. It is worth
something as long as the process that was given it: what is pulled is not made durable, and may be
removed from the local store, so a process begins without one. All calls raise StoreError and
nothing else, but ValueError for what no store would take; after a push has raised, its records may
be there or not, and pushing them again is right.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..store.base import check_data, check_name

PAGE_BYTES = 8 << 20
"""A page holds no more packed bytes, unless one pack alone has more. Arbitrary: 5,000 verdicts over
some ten candidates each."""

MOST_OFFERS, MOST_OFFERED_BYTES = 1000, 8 << 20
"""What one push takes, in records and in bytes of them. Arbitrary; a Redis server does nothing else
meanwhile, some 5 ms."""


class Entry(NamedTuple):
    """A record of a replica, under the name that it has in a store."""

    name: str
    data: bytes


class Offer(NamedTuple):
    """A record for a replica: it is kept if its name is free, or if what has it is `over`.

    `over` is a `digest_of`, ``""`` where only a free name will do.
    """

    name: str
    data: bytes
    over: str = ""


@dataclass(frozen=True)
class Taken:
    """What a replica has under the name of an offer that it did not keep.

    `data` is None where what is there cannot be read.
    """

    digest: str
    data: bytes | None


@dataclass(frozen=True)
class Page:
    """What is new on a shelf, in the order in which it came: of one name the last one counts.

    `cursor` goes on behind it, `more` says that there is something. `problems` are sentences about
    what could not be read and was passed over.
    """

    entries: Sequence[Entry]
    cursor: str
    more: bool = False
    problems: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ReplicaInfo:
    """What a replica says about itself. `url` has no credentials; `note` is for people."""

    kind: str
    url: str
    note: str = ""


@dataclass
class Traffic:
    """What a replica has cost so far: round trips one after the other, requests, bytes of bodies.

    Requests that are under way together are one round trip.
    """

    round_trips: int = 0
    requests: int = 0
    received: int = 0
    sent: int = 0


class Replica(abc.ABC):
    """Shelves of records that are shared. For one thread, and not for both sides of a fork."""

    def __init__(self, traffic: Traffic | None = None) -> None:
        self.traffic = Traffic() if traffic is None else traffic

    @abc.abstractmethod
    def shelves(self) -> list[str]:
        """The names of all shelves, sorted. Raises StoreUnavailable."""

    @abc.abstractmethod
    def pull(self, shelf: str, since: str = "") -> Page:
        """What came to a shelf since a cursor was given out; ``""``: all of it.

        A shelf or a cursor that is not known (any more) is no error: what is there comes again.
        Raises StoreUnavailable.
        """

    @abc.abstractmethod
    def holds(self, shelf: str, names: Sequence[str]) -> dict[str, str]:
        """Of these names those that are taken, each with the digest of what has it.

        Raises StoreUnavailable.
        """

    @abc.abstractmethod
    def push(self, shelf: str, offers: Sequence[Offer]) -> list[Taken | None]:
        """Keep records, all of them before this returns. For each: None if it was kept.

        Of all that offer one name at once, one gets None, unless `ReplicaInfo.note` says that this
        replica cannot promise that. Raises ValueError for more than a push may have, StoreReadOnly,
        StoreFull or StoreUnavailable.
        """

    @abc.abstractmethod
    def describe(self) -> ReplicaInfo:
        """What this replica is. Never raises and asks nobody."""

    def close(self) -> None:  # noqa: B027 - most replicas hold nothing
        """Let go of connections. Closing twice is fine; using a closed replica is not."""

    def __enter__(self) -> Replica:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def digest_of(data: bytes) -> str:
    """What tells two records of one name apart, 32 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[:32]


def check_shelf(shelf: str) -> str:
    """``shelf``, if a shelf may be called so: one part of a record's name; else ValueError."""
    if "/" in check_name(shelf):
        raise ValueError(f"{shelf!r} is no name of a shelf: it has a slash")
    return shelf


def check_offers(offers: Sequence[Offer]) -> None:
    """Raises ValueError for what one push may not have."""
    for offer in offers:
        check_name(offer.name)
        check_data(offer.data)
    if len({offer.name for offer in offers}) < len(offers):
        raise ValueError("a push has one name twice")
    size = sum(len(offer.data) for offer in offers)
    if len(offers) > MOST_OFFERS or size > MOST_OFFERED_BYTES:
        raise ValueError(f"{len(offers)} records of {size} bytes are too much for one push")


def in_pushes(offers: Iterable[Offer]) -> Iterable[list[Offer]]:
    """Offers in parts that a push takes each."""
    part: list[Offer] = []
    size = 0
    for offer in offers:
        if part and (len(part) == MOST_OFFERS or size + len(offer.data) > MOST_OFFERED_BYTES):
            yield part
            part, size = [], 0
        part.append(offer)
        size += len(offer.data)
    if part:
        yield part
