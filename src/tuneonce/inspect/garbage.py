"""What `tuneonce gc` would remove: chosen by sizes and times of files, without reading records.

A key goes as a whole or stays as a whole: its verdicts, what their candidates were compiled with,
measurements, and notes that it is wanted. A profile goes as a whole, too. In memory are a few
hundred bytes for each key that may go; records are read one at a time, when they go (`clearing`).

These stay whatever is asked: what was written within the last minutes, keys of which somebody has
written a journal within the last minutes, and those that have a file of another user. What this
version does not know is left alone and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..errors import RecordUnreadable
from ..model.key import Parts
from ..model.record_names import is_folder_of, kind_of, readable_name, unpack_named
from ..model.records import BadRecord, Measurement, Variants, Verdict, Wanted
from ..model.wording import world
from ..resolution.left_journals import LeftJournal, journals_in
from ..store.base import Store
from ..store.walking import Folder
from .holdings import BINARIES, Held, Holdings, folders_of, is_key, is_profile, is_record
from .last_use import LastUses, last_uses
from .leftovers import LeftOver, LeftOvers, is_ours
from .upkeep import is_world

GRACE_S = 600.0
"""What was written so recently stays. Arbitrary: longer than a tuning and its publication take."""


@dataclass(frozen=True)
class Criteria:
    """Which keys and profiles are to go: all of these must hold.

    Written before, and not used since then, in seconds since 1970; in a world, by a glob as for
    `rm`, which leaves out profiles: they are of none. With `most_bytes` those that were not used
    for longest go until the store holds no more.
    """

    written_before: float | None = None
    unused_since: float | None = None
    most_bytes: int | None = None
    world: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return self == Criteria()


class Stored(msgspec.Struct, frozen=True, gc=False):
    """One key with all that belongs to it, or one profile.

    `folder` is its name in the store; `kernel` and `world` are readable parts of it, of a profile
    the program and nothing. Times are in seconds since 1970: `written_at` when the newest of its
    files was, `used_at` the last use (`last_use`).
    """

    kind: str
    kernel: str
    world: str
    folder: str
    files: int
    bytes: int
    written_at: float
    used_at: float


@dataclass
class Plan:
    """What a store holds, and what of it is to go.

    `recent` and `others` would have gone, but for their age or their owner. `unread` are parts of
    profiles that could not be read: what only they name counts as not used since it was written.
    """

    location: str
    held: Holdings
    going: list[Stored]
    leftovers: LeftOvers
    journals: dict[str, list[LeftJournal]]
    recent: Held
    others: Held
    unread: int = 0

    @property
    def left_over(self) -> list[LeftOver]:
        return self.leftovers.found

    @property
    def bytes_after(self) -> int:
        """What the store will hold, without compiled binaries."""
        inside = (one for one in self.left_over if one.is_in(self.location))
        left_over = sum(one.bytes for one in inside if one.kind != BINARIES)
        return self.held.bytes - left_over - sum(one.bytes for one in self.going)

    def only(self, shown: Iterable[Stored]) -> Plan:
        """This plan, less what was not shown as it is now."""
        agreed = set(shown)
        going = [one for one in self.going if one in agreed]
        return Plan(**{**vars(self), "going": going})


@dataclass(frozen=True)
class Places:
    """Where a store's journals are, and compiled binaries that do not lie beside it."""

    journals: tuple[Path, ...] = ()
    binaries: tuple[Path, ...] = ()


def plan(
    store: Store,
    criteria: Criteria,
    *,
    now: float,
    places: Places,
    each: Callable[[], object] = lambda: None,
) -> Plan:
    """Look through a store of files; removes nothing. `now` is the file system's time.

    `each` is called for each folder, and may raise to end it. Raises StoreError.
    """
    location = store.describe().location
    uses = last_uses(store, each)
    journals: dict[str, list[LeftJournal]] = {}
    for journal in journals_in(places.journals):
        journals.setdefault(journal.below, []).append(journal)
    search = _Search(store, criteria, now, uses, journals)
    held, leftovers = Holdings(), LeftOvers(location, now)
    for folder in folders_of(store):
        each()
        held.see(folder)
        leftovers.see(folder)
        search.see(folder)
    leftovers.see_journals(one for several in journals.values() for one in several)
    for directory in places.binaries:
        leftovers.see_near(directory)
    search.decide_worlds()
    found = Plan(
        location,
        held.in_order(),
        [],
        leftovers,
        journals,
        Held(),
        Held(),
        uses.unread,
    )
    too_much = None if criteria.most_bytes is None else found.bytes_after - criteria.most_bytes
    if too_much is None or too_much > 0:
        found.going = [*_first(search.found, too_much)]
    if too_much is None or found.bytes_after > (criteria.most_bytes or 0):
        found.recent, found.others = search.recent, search.others
    return found


def _first(candidates: list[Stored], too_much: float | None) -> Iterator[Stored]:
    """What was used longest ago, until so many bytes are less; None: all."""
    left = math.inf if too_much is None else too_much
    for one in sorted(candidates, key=lambda one: (one.used_at, one.folder)):
        if left <= 0:
            return
        yield one
        left -= one.bytes


class _Search:
    """Finds what may go, folder by folder."""

    def __init__(
        self,
        store: Store,
        criteria: Criteria,
        now: float,
        uses: LastUses,
        journals: dict[str, list[LeftJournal]],
    ) -> None:
        self._store, self._criteria, self._now = store, criteria, now
        self._uses, self._journals = uses, journals
        self._facts: dict[str, dict[str, str]] = {}
        self._undecided: list[tuple[str, Stored, Held | None]] = []
        self.found: list[Stored] = []
        self.recent, self.others = Held(), Held()

    def see(self, folder: Folder) -> None:
        if self._criteria.is_empty:
            return
        if is_key(folder.name):
            kernel, world_folder = folder.name.split("/")[1:3]
            one = self._stored(folder, "key", readable_name(kernel), readable_name(world_folder))
        elif is_profile(folder.name) and self._criteria.world is None:
            program = readable_name(folder.name.rpartition("/")[2])
            one = self._stored(folder, "profile", program, "")
        else:
            return
        if one is None or not self._is_asked_for(one):
            return
        stays = None
        if any(not is_ours(file.owner) for file in folder.files):
            stays = self.others
        elif self._is_recent(folder):
            stays = self.recent
        if self._criteria.world is None:
            self._put(one, stays)
        else:
            self._learn_world(folder)
            self._undecided.append((folder.name.split("/")[2], one, stays))

    def _put(self, one: Stored, stays: Held | None) -> None:
        if stays is None:
            self.found.append(one)
        else:
            stays.add(one.bytes)

    def _stored(self, folder: Folder, kind: str, kernel: str, world_text: str) -> Stored | None:
        """None where there is no record that this version knows."""
        files = [file for file in folder.files if is_record(folder.name, file.name)]
        if not files:
            return None
        size, written = sum(file.bytes for file in files), max(file.written_at for file in files)
        if kind == "key":
            used = max(written, self._uses.of_keys.get(folder.name, written))
        else:  # written anew, too, where parts of it are put together
            used = self._uses.of_profiles.get(folder.name, written)
        return Stored(kind, kernel, world_text, folder.name, len(files), size, written, used)

    def _is_asked_for(self, one: Stored) -> bool:
        asked = self._criteria
        if asked.written_before is not None and one.written_at >= asked.written_before:
            return False
        return asked.unused_since is None or one.used_at < asked.unused_since

    def _is_recent(self, folder: Folder) -> bool:
        journals = (one.written_at for one in self._journals.get(folder.name, ()))
        times = (file.written_at for file in folder.files)
        return any(self._now - at < GRACE_S for at in (*times, *journals))

    # -- worlds --------------------------------------------------------------------------------

    def _learn_world(self, folder: Folder) -> None:
        """Read a record, unless one of this world's was: its key says what the world is."""
        named = folder.name.split("/")[2]
        for file in () if named in self._facts else folder.files:
            name = f"{folder.name}/{file.name}"
            if not is_record(folder.name, file.name) or kind_of(name) is Measurement:
                continue
            try:
                data = self._store.get(name)
                key = None if data is None else _key_in(name, data)
            except (BadRecord, RecordUnreadable):
                continue
            if key is not None and is_folder_of(named, world(key).items()):
                self._facts[named] = world(key)
                return

    def decide_worlds(self) -> None:
        """Keep those that are in the world that is meant, once all that tells it was read."""
        for named, one, stays in self._undecided:
            facts = self._facts.get(named, {})
            if is_world(self._criteria.world or "*", facts, readable_name(named)):
                self._put(one, stays)
        self._undecided = []


def _key_in(name: str, data: bytes) -> Parts | None:
    """The key's parts that a record carries; a measurement carries none. Raises BadRecord."""
    kind = kind_of(name)
    if kind is Verdict:
        return tuple(unpack_named(name, data, Verdict).key)
    if kind is Variants:
        return tuple(unpack_named(name, data, Variants).key)
    if kind is Wanted:
        return tuple(unpack_named(name, data, Wanted).key)
    return None
