"""Shelves of packs: one head, which says which packs count, and packs that never change.

    <namespace>/<shelf>/head         {"schema":"tuneonce.head/1","packs":[{"id":...},...]}
    <namespace>/<shelf>/<id>.pack    `packs`; the id is its SHA-256
    <namespace>/<shelf>/claims/...   `pack_claims`

A push writes one new pack and then replaces the head by one that names it, if the head is still the
one that was read. Whoever comes second reads what the first has added and tries again, so every
name is in one pack, or once more in a later one that replaces it. The packs in the order of the
head are the shelf.

What a push adds is merged with the last packs before it that are no more than twice as large. So a
thousand pushes leave ten packs at most, and a reader that knows none makes two round trips: one for
the head, and one for all packs. Packs that were merged are removed by whoever has replaced the
head; a reader that still asks for one reads the head again.

Two pushes never make the same pack (`packs.pack`), so nobody removes one that somebody else is
about to name. A process that is killed between its two writes leaves a pack that nobody names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import random
import time
from collections.abc import Callable, Sequence

import msgspec

from ..errors import StoreError, StoreUnavailable
from . import packs
from .base import (
    PAGE_BYTES,
    Claimed,
    Entry,
    Offer,
    Page,
    Replica,
    ReplicaInfo,
    Taken,
    check_claim,
    check_offers,
    check_seconds,
    check_shelf,
    digest_of,
)
from .pack_claims import PackClaims
from .space import Space, Swap, Versioned

HEAD = "tuneonce.head/1"

MOST_HEAD_BYTES = 1 << 20
"""8,000 packs. Arbitrary."""

# Packs are merged up to so many bytes, as they are kept and as they are read: a quarter of what a
# pack may have.
_MERGED, _MERGED_UNPACKED = packs.MOST_PACKED // 4, packs.MOST_UNPACKED // 4

# So often a push tries to be first, and a reader to find what a head names. Arbitrary: with eight
# that push at once, each is first after eight tries at most if all are equally fast.
_TRIES = 32
_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.5

# Between two looks at a head for news: twice as long each time. Arbitrary; who waits for a minute
# asks some hundred times.
_NEWS_PAUSE_S, _LONGEST_NEWS_PAUSE_S = 0.1, 0.5


class PackRef(msgspec.Struct, frozen=True):
    """A pack in a head: its id, how many bytes it has, and how many unpacked."""

    id: str
    bytes: int
    unpacked: int


class Head(msgspec.Struct, frozen=True):
    """Which packs a shelf is made of, in the order in which they came."""

    schema: str
    packs: list[PackRef]


class PackReplica(Replica):
    """Shelves of packs in a space.

    `pause` waits for so many seconds between two tries, and `clock` says what time it is in
    seconds, from whenever on.
    """

    def __init__(
        self,
        space: Space,
        info: ReplicaInfo,
        namespace: str,
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(space.traffic)
        self._space = space
        self._info = info
        self._namespace = namespace
        self._pause = pause
        self._clock = clock
        self._claims = PackClaims(space, clock)
        # Of packs by their ids, since they never change: what they hold. None: cannot be read.
        self._digests: dict[str, dict[str, str] | None] = {}
        # The packs that were read or written last, those that the next push merges among them.
        self._last: dict[str, bytes] = {}

    # -- reading -----------------------------------------------------------------------------

    def shelves(self) -> list[str]:
        return self._space.folders(self._namespace)

    def pull(self, shelf: str, since: str = "") -> Page:
        check_shelf(shelf)
        seen = set(since.split())
        for _ in range(_TRIES):
            head, _version = self._head(shelf)
            new = [one for one in head.packs if one.id not in seen]
            wanted = _page(new)
            blobs = self._read(shelf, wanted)
            # One that has gone was merged just now, and the head says into which.
            if None not in blobs or self._head(shelf)[0] == head:
                break
        entries: list[Entry] = []
        problems = []
        for one, blob in zip(wanted, blobs, strict=True):
            try:
                entries += self._unpacked(one, blob)
            except packs.BadPack as error:
                problems.append(f"the pack {one.id[:12]} of {shelf} is not used: {error}")
        known = seen | {one.id for one in wanted}
        cursor = " ".join(one.id for one in head.packs if one.id in known)
        return Page(entries, cursor, len(wanted) < len(new), problems)

    def holds(self, shelf: str, names: Sequence[str]) -> dict[str, str]:
        check_shelf(shelf)
        found = self._contents(shelf, self._head(shelf)[0])
        return {name: found[name][0] for name in names if name in found}

    def _head(self, shelf: str) -> tuple[Head, str | None]:
        name = self._name(shelf, "head")
        return self._decoded(name, self._space.read_head(name, most=MOST_HEAD_BYTES))

    def _decoded(self, name: str, found: Versioned | None) -> tuple[Head, str | None]:
        if found is None:
            return Head(HEAD, []), None
        try:
            head = msgspec.json.decode(found.data, type=Head)
        except (ValueError, msgspec.MsgspecError):
            head = None
        if head is None or head.schema != HEAD:
            url = self._info.url
            raise StoreUnavailable(
                f"{url}: {name} is no head of a shelf that this version reads, so nothing of it is "
                "used. Where no later version of tuneonce has written it, remove it: what machines "
                "have themselves is pushed again",
                store=url,
            )
        return head, found.version

    def _contents(self, shelf: str, head: Head) -> dict[str, tuple[str, PackRef]]:
        """What has each name of a shelf: its digest, and the pack that it is in."""
        unknown = [one for one in head.packs if one.id not in self._digests]
        while unknown:
            part = _page(unknown)
            for one, blob in zip(part, self._read(shelf, part), strict=True):
                try:
                    entries = self._unpacked(one, blob)
                    self._digests[one.id] = {e.name: digest_of(e.data) for e in entries}
                except packs.BadPack:
                    # Its names count as free, so that whoever has these records pushes them again.
                    self._digests[one.id] = None
            unknown = unknown[len(part) :]
        found: dict[str, tuple[str, PackRef]] = {}
        for one in head.packs:
            held = self._digests[one.id] or {}
            found.update((name, (digest, one)) for name, digest in held.items())
        return found

    def _read(self, shelf: str, refs: Sequence[PackRef]) -> list[bytes | None]:
        found: dict[str, bytes | None] = {
            one.id: self._last[one.id] for one in refs if one.id in self._last
        }
        unknown = [one.id for one in refs if one.id not in found]
        if unknown:
            names = [self._name(shelf, f"{id}.pack") for id in unknown]
            found.update(zip(unknown, self._space.read(names, most=packs.MOST_PACKED), strict=True))
        for id, blob in found.items():
            self._remember(id, blob)
        return [found[one.id] for one in refs]

    def _remember(self, id: str, blob: bytes | None) -> None:
        self._last.pop(id, None)
        if blob is not None and hashlib.sha256(blob).hexdigest() == id:
            self._last[id] = blob
        while sum(map(len, self._last.values())) > _MERGED:
            del self._last[next(iter(self._last))]

    def _unpacked(self, one: PackRef, blob: bytes | None) -> list[Entry]:
        if blob is None:
            raise packs.BadPack("it is not there")
        if one.id not in self._last and hashlib.sha256(blob).hexdigest() != one.id:
            raise packs.BadPack("its checksum does not fit")
        return packs.unpack(blob)

    # -- writing -----------------------------------------------------------------------------

    def push(self, shelf: str, offers: Sequence[Offer]) -> list[Taken | None]:
        check_shelf(shelf)
        check_offers(offers)
        self._space.prepare()
        for attempt in range(_TRIES):
            head, version = self._head(shelf)
            taken = self._taken(shelf, head, offers)
            fresh = [Entry(one.name, one.data) for one in offers if one.name not in taken]
            swap = self._add(shelf, head, version, fresh) if fresh else Swap.DONE
            if swap is Swap.DONE:
                return [taken.get(one.name) for one in offers]
            # Longer from try to try, and never twice alike: who pushes at the same time does so.
            most = min(_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
            self._pause(random.uniform(0, most))
        raise StoreUnavailable(
            f"{self._info.url}: others write to {shelf} all the time; after {_TRIES} tries nothing "
            "was pushed. Try again later",
            store=self._info.url,
        )

    def _taken(self, shelf: str, head: Head, offers: Sequence[Offer]) -> dict[str, Taken]:
        """The offers that are not to be kept, by name, with what is there."""
        there = self._contents(shelf, head)
        refused = {
            one.name: there[one.name]
            for one in offers
            if one.name in there and there[one.name][0] != one.over
        }
        refs = list({ref.id: ref for _, ref in refused.values()}.values())
        held: dict[str, dict[str, bytes]] = {}
        while refs:
            part = _page(refs)
            for one, blob in zip(part, self._read(shelf, part), strict=True):
                try:
                    held[one.id] = dict(self._unpacked(one, blob))
                except packs.BadPack:  # since it was read last
                    held[one.id] = {}
            refs = refs[len(part) :]
        return {
            name: Taken(digest, held[ref.id].get(name)) for name, (digest, ref) in refused.items()
        }

    def _add(self, shelf: str, head: Head, version: str | None, fresh: list[Entry]) -> Swap:
        """Write a pack of what is new and name it in the head, merged with the last ones."""
        data, unpacked = packs.pack(fresh, word=os.urandom(8).hex())
        merged = self._to_merge(head, len(data), unpacked)
        if merged:
            entries: list[Entry] = []
            for one, blob in zip(merged, self._read(shelf, merged), strict=True):
                try:
                    entries += self._unpacked(one, blob)
                except packs.BadPack:
                    # Another has merged it, and the head says so, or it is lost.
                    self._digests[one.id] = None
                    return Swap.LOST
            together = dict([*entries, *fresh])
            rest = [Entry(*one) for one in together.items()]
            data, unpacked = packs.pack(rest, word=os.urandom(8).hex())
        ref = PackRef(hashlib.sha256(data).hexdigest(), len(data), unpacked)
        kept = head.packs[: len(head.packs) - len(merged)]
        name = self._name(shelf, f"{ref.id}.pack")
        self._space.create(name, data)
        body = msgspec.json.encode(Head(HEAD, [*kept, ref]))
        swap = self._space.swap(self._name(shelf, "head"), body, version)
        if swap is Swap.LOST:
            self._remove([name])
            return swap
        self._remember(ref.id, data)
        if swap is Swap.DONE and self._space.conditional:
            # Elsewhere another's head, written a moment later, may still name them.
            self._remove([self._name(shelf, f"{one.id}.pack") for one in merged])
        return swap

    def _remove(self, names: Sequence[str]) -> None:
        """Remove what no head names. Where that is not allowed, it takes some space."""
        with contextlib.suppress(StoreError):
            self._space.remove(names)

    def _to_merge(self, head: Head, size: int, unpacked: int) -> list[PackRef]:
        """The last packs of a shelf that go into one with a new pack of that size."""
        count = 0
        for one in reversed(head.packs):
            # What cannot be read stays as it is: somebody may mend it.
            if one.bytes > 2 * size or self._digests.get(one.id) is None:
                break
            size, unpacked = size + one.bytes, unpacked + one.unpacked
            if size > _MERGED or unpacked > _MERGED_UNPACKED:
                break
            count += 1
        return head.packs[len(head.packs) - count :]

    # -- dividing work -----------------------------------------------------------------------

    def claim(self, shelf: str, name: str, owner: str, seconds: float) -> Claimed:
        check_claim(shelf, name, owner, seconds)
        self._space.prepare()
        if not self._space.conditional:
            data = self._record(shelf, self._head(shelf)[0], name)
            return Claimed(data is None, data)
        at = self._claim_at(shelf, name)
        # The head is read once the claim is ours: who had it may have pushed and given up.
        ours = self._claims.create(at, owner)
        if ours:
            head, _ = self._head(shelf)
        else:
            head_at = self._name(shelf, "head")
            found, found_head = self._space.read_heads([at, head_at], most=MOST_HEAD_BYTES)
            head, _ = self._decoded(head_at, found_head)
            if self._claims.take(at, owner, seconds, found):
                ours, (head, _) = True, self._head(shelf)
        data = self._record(shelf, head, name)
        if data is None:
            return Claimed(ours, None)
        self._claims.forget(at)
        if ours:
            with contextlib.suppress(StoreError):  # then it lies there until it is claimed again
                self.give_up(shelf, name, owner)
        return Claimed(False, data)

    def renew(self, shelf: str, name: str, owner: str, seconds: float) -> bool:
        check_claim(shelf, name, owner, seconds)
        self._space.prepare()
        if not self._space.conditional:
            return True
        at = self._claim_at(shelf, name)
        return self._claims.renew(at, owner, self._space.read_head(at, most=MOST_HEAD_BYTES))

    def give_up(self, shelf: str, name: str, owner: str) -> None:
        check_claim(shelf, name, owner)
        self._space.prepare()
        if self._space.conditional:
            at = self._claim_at(shelf, name)
            self._claims.give_up(at, owner, self._space.read_head(at, most=MOST_HEAD_BYTES))

    def await_news(self, shelf: str, since: str, seconds: float) -> bool:
        check_shelf(shelf)
        check_seconds(seconds)
        seen = set(since.split())
        end, pause = self._clock() + seconds, _NEWS_PAUSE_S
        while True:
            head, _ = self._head(shelf)
            if any(one.id not in seen for one in head.packs):
                return True
            rest = end - self._clock()
            if rest <= 0:
                return False
            self._pause(min(pause, rest))
            pause = min(2 * pause, _LONGEST_NEWS_PAUSE_S)

    def _record(self, shelf: str, head: Head, name: str) -> bytes | None:
        """What a shelf has under a name, if it can be read; `head` was read just now."""
        for _ in range(_TRIES):
            taken = self._taken(shelf, head, [Offer(name, b"")]).get(name)
            if taken is not None and taken.data is not None:
                return taken.data
            is_whole = all(self._digests.get(one.id) is not None for one in head.packs)
            if taken is None and is_whole:
                return None
            # A pack that has gone was merged just now, and the head says into which.
            before, (head, _) = head, self._head(shelf)
            if head == before:
                return None
        return None

    def _claim_at(self, shelf: str, name: str) -> str:
        return self._name(shelf, f"claims/{digest_of(name.encode())}")

    def try_writing(self) -> bool:
        return self._space.try_writing(self._namespace)

    # -- telling -----------------------------------------------------------------------------

    def describe(self) -> ReplicaInfo:
        if self._space.conditional:
            return self._info
        note = (
            "it does not compare before it writes: of two that push at once, what one has pushed "
            "may be missing until it pushes again"
        )
        return dataclasses.replace(self._info, note=note)

    def close(self) -> None:
        self._space.close()

    def _name(self, shelf: str, last: str) -> str:
        return f"{self._namespace}/{shelf}/{last}"


def _page(refs: Sequence[PackRef]) -> list[PackRef]:
    """The first of these, as many as are read together; at least one of them."""
    size, count = 0, 0
    for one in refs:
        size += one.bytes
        if count and size > PAGE_BYTES:
            break
        count += 1
    return list(refs[:count])
