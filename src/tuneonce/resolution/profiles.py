"""The profile of one program in a store: read as a whole, written part by part.

A process writes parts as it meets what it needs. The one that finds many parts puts what they come
to in their place: a part of its own, before they are removed, so that nothing is lost wherever it
is killed; and where another does the same at that moment, both results stay, which merge like any
parts.

Beside its parts lies what machines share of it (`model.shared_profiles`), a record for each world:
starts add to it what it lacks, and the first starts in a store read it.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

from ..model.profiles import Profile, ProfilePart, merge
from ..model.record_names import (
    PROFILES,
    kind_of,
    profile_folder,
    profile_part_name,
    profile_prefix,
    shared_profile_name,
)
from ..model.shared_profiles import SharedProfile, shared_profiles, with_news
from ..system.forks import lazy
from .access import Access, Budget

# Arbitrary: more parts than a server of eight ranks writes in two starts. So many are put together.
_MANY_PARTS = 32

# So many parts of one profile are read at most, and bytes of them; and profiles of the same
# program where it has none yet. Arbitrary.
_MOST_PARTS, _MOST_BYTES, _SIBLINGS = 1024, 32 << 20, 8

# How much one part holds: a variant has about a kilobyte, a record at most a megabyte.
_OF_A_PART = 256

# Seconds that putting parts together may take for reading where the store is far away, and so many
# that adding to what is shared may. Arbitrary.
_TIDIED_WITHIN_S, _SHARED_WITHIN_S = 3.0, 3.0


class Profiles:
    """The profile called `name()` in a store. Raises nothing because a store or a record is bad."""

    def __init__(
        self, access: Access, name: Callable[[], str], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._access = access
        self._name = name
        self._clock = clock

    @lazy
    def name(self) -> str:
        """What it is called, asked for when needed: a child may not have its arguments yet."""
        return self._name()

    @property
    def _folder(self) -> str:
        return f"{PROFILES}{profile_folder(self.name)}/"

    def load(self, within_s: float = math.inf, world: str | None = None) -> Profile:
        """What is recorded; as long as that is little, what others needed, too.

        These are starts elsewhere in this world, by its folder, or else programs with other
        arguments. What a far store has not given within so many seconds is left out.
        """
        budget = _budget(within_s)
        own = merge(self._parts(self._folder, budget))
        if not own.is_young:
            return own
        shared = None if world is None else self._shared(world, budget)
        if shared is not None:
            return own.extended(shared.needed(now=self._clock()))
        return own.extended(merge(self._sibling(budget)))

    def has_shared(self, within_s: float = math.inf) -> bool:
        """Whether there is anything that starts elsewhere needed, in whatever world."""
        names = self._access.children(self._folder, _MOST_PARTS, _budget(within_s))
        return any(kind_of(name) is SharedProfile for name in names)

    def keep(self, part: ProfilePart) -> bool:
        """Store a part, or what it has become. False: it could not be stored."""
        return self._access.put(profile_part_name(part), part, durable=False) is True

    def tidy(self) -> None:
        """Put what many parts come to in their place; those of a base stay, and are left out."""
        is_of_base = self._access.is_of_base
        parts = self._parts(self._folder, _budget(_TIDIED_WITHIN_S), leaving=is_of_base)
        if len(parts) < _MANY_PARTS:
            return
        whole = merge(parts)
        for part in _split(self.name, whole):
            if not self.keep(part):
                return
        for part in parts:
            # A process that is alive writes its part anew: then it holds more than was read.
            if not self._access.remove(profile_part_name(part), only=part):
                return

    def share(self) -> None:
        """Add to what is shared what it lacks of this profile."""
        budget, now = _budget(_SHARED_WITHIN_S), self._clock()
        own = merge(self._parts(self._folder, budget))
        for ours in shared_profiles(self.name, own, now=now):
            theirs = self._shared(ours.world, budget)
            if budget.is_spent:  # it may be there, and was not read
                return
            news = with_news(theirs, ours, now=now)
            if news is not None:
                name = shared_profile_name(self.name, ours.world)
                if self._access.put(name, news, durable=False) is not True:
                    return

    def _shared(self, world: str, budget: Budget) -> SharedProfile | None:
        return self._access.read(shared_profile_name(self.name, world), SharedProfile, budget)

    def _parts(
        self, folder: str, budget: Budget, leaving: Callable[[str], bool] = lambda name: False
    ) -> list[ProfilePart]:
        names = self._access.children(folder, _MOST_PARTS, budget)
        read = (
            self._access.read(name, ProfilePart, budget)
            for name in sorted(names)
            if kind_of(name) is ProfilePart and not leaving(name)
        )
        return [part for part in read if part is not None]

    def _sibling(self, budget: Budget) -> list[ProfilePart]:
        """The parts of the profile of this program that was used last."""
        folders = set(self._access.children(profile_prefix(self.name), _SIBLINGS, budget))
        profiles = [self._parts(folder, budget) for folder in sorted(folders - {self._folder})]
        return max(profiles, key=_last_used, default=[])


def _budget(within_s: float) -> Budget:
    return Budget(_MOST_BYTES, time.monotonic() + within_s)


def _last_used(parts: Sequence[ProfilePart]) -> float:
    return max((start.at for part in parts for start in part.starts), default=0.0)


def _split(name: str, whole: Profile) -> Iterator[ProfilePart]:
    """A profile as parts that are small enough for a store."""
    stem = f"merged-{secrets.token_hex(6)}"
    most = max(len(whole.variants), len(whole.keys), 1)
    for number, at in enumerate(range(0, most, _OF_A_PART)):
        variants, keys = whole.variants[at : at + _OF_A_PART], whole.keys[at : at + _OF_A_PART]
        yield ProfilePart(name, f"{stem}-{number}", whole.starts, variants, keys)
