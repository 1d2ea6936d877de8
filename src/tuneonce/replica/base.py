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

Machines divide work by *claims*: whoever has the claim of a name makes its record, and the others
wait for it. Claims save work and decide nothing. Two may hold one for a moment, or nobody; what
counts is the first record that is pushed.
"""

from __future__ import annotations

import abc
import hashlib
import re
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

LEAST_SECONDS, MOST_SECONDS = 1.0, 3600.0
"""How long a claim may be held without renewal, and news be awaited. Arbitrary: below a second an
answer that is late is taken for an owner that is gone; an hour is longer than any key takes."""

_OWNER = re.compile(r"[A-Za-z0-9_-]{1,64}")


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


class Claimed(NamedTuple):
    """What came of an attempt to claim a name.

    `ours`: this owner has the claim now; also where the replica cannot claim at all, since nobody
    would be kept from it. `data` is the record of that name, if the replica has one by now: then
    there is nothing to claim, and `ours` is False.
    """

    ours: bool
    data: bytes | None


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
    def claim(self, shelf: str, name: str, owner: str, seconds: float) -> Claimed:
        """Claim the work that a record is.

        A claim is held by one owner at a time, until it is given up, or `seconds` have passed
        without renewal. An owner that has it already has it again, renewed. A record that cannot be
        read is none. After this has raised, the claim may be this owner's or not, and claiming
        again is right. Raises StoreReadOnly, StoreFull or StoreUnavailable.
        """

    @abc.abstractmethod
    def renew(self, shelf: str, name: str, owner: str, seconds: float) -> bool:
        """Hold a claim for `seconds` from now. False: it is another's, or gone.

        Raises StoreReadOnly, StoreFull or StoreUnavailable.
        """

    @abc.abstractmethod
    def give_up(self, shelf: str, name: str, owner: str) -> None:
        """Let others claim it at once; nothing if it is another's or gone.

        Raises StoreReadOnly, StoreFull or StoreUnavailable.
        """

    @abc.abstractmethod
    def await_news(self, shelf: str, since: str, seconds: float) -> bool:
        """Wait until something came to a shelf since a cursor, at most so long. True: pull it.

        It may come back earlier, or later by what one request takes at most. Raises
        StoreUnavailable.
        """

    @abc.abstractmethod
    def try_writing(self) -> bool:
        """Find out whether records could be pushed, and leave nothing behind.

        False: that cannot be found out without leaving something. Raises StoreReadOnly, StoreFull
        or StoreUnavailable.
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


def check_claim(shelf: str, name: str, owner: str, seconds: float = MOST_SECONDS) -> None:
    """Raises ValueError for what nobody can claim."""
    check_shelf(shelf)
    check_name(name)
    check_seconds(seconds)
    if not _OWNER.fullmatch(owner):
        raise ValueError(f"{owner!r} is no name of an owner: 1 to 64 of A-Z a-z 0-9 _ -")


def check_seconds(seconds: float) -> None:
    """Raises ValueError if that is not how long one may hold a claim, or wait for news."""
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise ValueError(f"{seconds} seconds are not {LEAST_SECONDS:.0f} to {MOST_SECONDS:.0f}")


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
