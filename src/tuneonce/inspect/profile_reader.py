"""Profiles in a store, as people ask for them: `ls --profiles`, `verify` and `rm`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from ..errors import RecordUnreadable
from ..model.profiles import ProfilePart, merge
from ..model.record_names import PROFILES, kind_of, readable_name
from ..model.shared_profiles import SharedProfile
from ..model.shared_profiles import last_used as last_told
from ..resolution.access import Budget
from ..store.base import Store
from .record_reader import Broken, Held, Problem, read_record, sort_in, unreadable

# Arbitrary, as for a key's records: as many as are put together many times over.
_BYTES_OF_PROFILE, _NAMES = 64 * 1024 * 1024, 100_000


@dataclass
class ProfileFolder:
    """All parts of one profile. `folder` is a path part, ``program~digest``; `shared` is what
    machines share of it, by world."""

    folder: str
    parts: list[Held[ProfilePart]] = field(default_factory=list)
    shared: list[Held[SharedProfile]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What it is called; without a record that can be read, the program alone."""
        if self.parts:
            return self.parts[0].record.profile
        return self.shared[0].record.profile if self.shared else readable_name(self.folder)


def profile_folders(store: Store) -> Iterator[ProfileFolder]:
    """Read every profile, in the order of their folders. Raises StoreError if the store fails."""
    try:
        names = sorted(store.children(PROFILES, limit=_NAMES))
    except RecordUnreadable as error:
        yield ProfileFolder("", broken=[unreadable(error)])
        return
    for name in names:
        found = ProfileFolder(name.rstrip("/").rpartition("/")[2])
        if not name.endswith("/"):
            found.unknown.append(name)
        else:
            try:
                _read_parts(store, sorted(store.children(name, limit=_NAMES)), found)
            except RecordUnreadable as error:
                found.broken.append(unreadable(error))
        yield found


def _read_parts(store: Store, names: list[str], found: ProfileFolder) -> None:
    budget = Budget(_BYTES_OF_PROFILE)
    for name in (name.rstrip("/") for name in names):
        kind = kind_of(name)
        if kind is ProfilePart:
            sort_in(read_record(store, name, ProfilePart, budget), found.parts, found.broken)
        elif kind is SharedProfile:
            sort_in(read_record(store, name, SharedProfile, budget), found.shared, found.broken)
        else:
            found.unknown.append(name)


class ProfileRow(msgspec.Struct, frozen=True):
    """One profile. `starts` are those that are still named, `complete` of them got as far as
    serving, or to their end. `last_used` is in seconds since 1970. `shared` counts what starts on
    any machine needed: variants and keys, in all worlds; it is all that there is of a program that
    has not run here, and in none of the other numbers."""

    name: str
    starts: int
    complete: int
    variants: int
    keys: int
    kernels: int
    parts: int
    last_used: float
    shared: int = 0


class ProfileListing(msgspec.Struct, frozen=True):
    """Profiles, the one that was used last first."""

    schema: str
    store: str
    location: str
    profiles: list[ProfileRow]
    problems: list[Problem]


def profile_listing(store: Store) -> ProfileListing:
    """What `tuneonce ls --profiles` tells. Raises StoreError if the store itself fails."""
    rows: list[ProfileRow] = []
    problems: list[Problem] = []
    for found in profile_folders(store):
        problems += [broken.problem for broken in found.broken]
        if found.parts or found.shared:
            rows.append(_row(found))
    rows.sort(key=lambda row: (-row.last_used, row.name))
    info = store.describe()
    return ProfileListing("tuneonce.profiles/1", info.url, info.location, rows, problems)


def _row(found: ProfileFolder) -> ProfileRow:
    whole = merge(held.record for held in found.parts)
    kernels = {one.kernel for one in whole.variants} | {one.kernel for one in whole.keys}
    return ProfileRow(
        name=found.name,
        starts=len(whole.starts),
        complete=sum(start.complete for start in whole.starts),
        variants=len(whole.variants),
        keys=len(whole.keys),
        kernels=len(kernels),
        parts=len(found.parts),
        last_used=max(
            [last_used(held.record) for held in found.parts]
            or [last_told(held.record) for held in found.shared]
        ),
        shared=sum(len(held.record.variants) + len(held.record.keys) for held in found.shared),
    )


def last_used(part: ProfilePart) -> float:
    """When something that a part names was last used, in seconds since 1970."""
    times = [start.at for start in part.starts]
    times += [one.at for one in part.variants] + [one.at for one in part.keys]
    return max(times, default=0.0)
