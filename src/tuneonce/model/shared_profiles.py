"""What programs of one name needed on one kind of GPU, on whichever machine they ran.

A profile (`model.profiles`) is of one store: its parts name the starts that were made there, and
what these did not use is forgotten. Machines share what is left of it without the starts: variants
and keys, and when each was last used. So nobody's starts count as those of another machine, and
what machines add to one such record comes to the same in whatever order they do.

A use counts by the ten days in which it was. So a fleet that needs the same every day writes its
record once in ten days, and where a record has no room for all, the same entries stay in it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from .profiles import MOST_KEYS, MOST_VARIANTS, Profile, UsedKey, UsedVariant

SHARED_PROFILE = "tuneonce.shared-profile/1"

_DAY_S = 24 * 3600.0

PERIOD_S = 10 * _DAY_S
"""Of two uses within the same period none is later. Arbitrary: a third of `KEPT_S`."""

KEPT_S = 30 * _DAY_S
"""What nobody has used for so many seconds goes. Arbitrary: a month without a restart."""

MOST_BYTES = 900_000
"""What the entries of one record take, as JSON. A store takes records of a mebibyte (2**20)."""

_MOST_WORLDS = 8
"""So many of a profile's worlds are shared. Arbitrary: a Triton that is upgraded is another one."""

_DEEPEST = 80
"""Lists in lists. What is recorded has some ten less at most; to write down what is nested without
end takes more stack than there may be."""

_WORLD = re.compile(r"[A-Za-z0-9_.-]{1,60}~[0-9a-f]{12}")

_Entry = UsedVariant | UsedKey


class SharedProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """Variants and keys that programs called `profile` needed in a world.

    `world` is its folder in the names of records. Entries name no starts; `at` is when a use was
    last told of, which was in the last `PERIOD_S` of its uses.
    """

    profile: str
    world: str
    variants: list[UsedVariant]
    keys: list[UsedKey]

    def __post_init__(self) -> None:
        if _WORLD.fullmatch(self.world) is None:
            raise ValueError(f"{self.world!r} is no world")
        if len(self.variants) > MOST_VARIANTS or len(self.keys) > MOST_KEYS:
            raise ValueError("more entries than a profile has")
        for one in _entries(self):
            if one.starts or not math.isfinite(one.at) or one.at < 0:
                raise ValueError("an entry of a start, or of no time")
        if any(_world_of(key) != self.world for key in self.keys):
            raise ValueError("a key of another world")
        if any(_is_deeper([one.variant, one.options], _DEEPEST) for one in self.variants):
            raise ValueError("a value in a value in a value")

    def needed(self, *, now: float) -> Profile:
        """What a start can make ready of it."""
        both = _joined(self, self, now)
        return Profile([], both.variants, both.keys)


def shared_profiles(name: str, own: Profile, *, now: float) -> list[SharedProfile]:
    """What the starts of a program called `name` needed, by world. Nothing in one without keys.

    A variant belongs to the worlds of the keys that its starts used: it says none itself.
    """
    newest: dict[str, float] = {}
    for key in own.keys:
        world = _world_of(key)
        if _WORLD.fullmatch(world) is not None:
            newest[world] = max(key.at, newest.get(world, key.at))
    found = []
    for world in sorted(newest, key=lambda world: (-newest[world], world))[:_MOST_WORLDS]:
        keys = [key for key in own.keys if _world_of(key) == world]
        starts = {start for key in keys for start in key.starts}
        variants = [one for one in own.variants if not starts.isdisjoint(one.starts)]
        ours = SharedProfile(name, world, _plain(variants, now), _plain(keys, now))
        found.append(_joined(ours, ours, now))
    return found


def with_news(
    theirs: SharedProfile | None, ours: SharedProfile, *, now: float
) -> SharedProfile | None:
    """`theirs`, of the same profile and world, with what `ours` adds; None if that is nothing.

    New is what `theirs` lacks, and what was used in a later period. Entries that go for their age
    or for want of room are no news: they go with the next one.
    """
    if theirs is None:
        return _joined(ours, ours, now)
    both = _joined(ours, theirs, now)
    known = {one.identity: one.at // PERIOD_S for one in _entries(theirs)}
    news = (one.at // PERIOD_S > known.get(one.identity, -1.0) for one in _entries(both))
    return both if any(news) else None


def last_used(shared: SharedProfile) -> float:
    """When something that it names was last used, in seconds since 1970."""
    return max((one.at for one in _entries(shared)), default=0.0)


def _entries(shared: SharedProfile) -> Iterator[_Entry]:
    return itertools.chain(shared.variants, shared.keys)


def _world_of(key: UsedKey) -> str:
    """The folder of the world in the name of a verdict; "" in what is none."""
    parts = key.verdict.split("/")
    return parts[2] if len(parts) == 5 and parts[0] == "v1" else ""


def _is_deeper(value: Any, than: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list, tuple)):
        return False
    return than == 0 or any(_is_deeper(one, than - 1) for one in inside)


def _plain(entries: Iterable[Any], now: float) -> list[Any]:
    return [
        msgspec.structs.replace(one, starts=[], at=max(0.0, min(one.at, now))) for one in entries
    ]


def _joined(one: SharedProfile, other: SharedProfile, now: float) -> SharedProfile:
    """What both come to, in either order: what was used last comes first, and stays."""
    found: dict[Any, tuple[float, bytes, _Entry]] = {}
    for entry in (*_entries(one), *_entries(other)):
        this = (entry.at, msgspec.json.encode(entry), entry)
        known = found.get(entry.identity)
        if known is None or known[:2] < this[:2]:
            found[entry.identity] = this
    room, left = MOST_BYTES, {UsedVariant: MOST_VARIANTS, UsedKey: MOST_KEYS}
    stay: list[_Entry] = []
    for at, data, entry in sorted(found.values(), key=lambda it: _rank(it[0], it[2], now)):
        if at < now - KEPT_S:
            continue
        room -= len(data) + 1
        if room < 0:
            break
        left[type(entry)] -= 1
        if left[type(entry)] >= 0:
            stay.append(entry)
    stay.sort(key=lambda entry: (-entry.at, repr(entry.identity)))
    return SharedProfile(
        one.profile,
        one.world,
        [entry for entry in stay if isinstance(entry, UsedVariant)],
        [entry for entry in stay if isinstance(entry, UsedKey)],
    )


def _rank(at: float, entry: _Entry, now: float) -> tuple[float, str]:
    """The smaller, the sooner it has room. What a wrong clock has used tomorrow comes last."""
    period = at // PERIOD_S if at <= now + _DAY_S else 0.0
    return -period, hashlib.sha256(repr(entry.identity).encode()).hexdigest()
