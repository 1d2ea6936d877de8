"""What a program has needed, start after start: its profile, in parts that processes write.

A part is a record of its own (`ProfilePart`), written by one process while it runs. Parts are put
together by `merge`, in any order and any number of times with the same result, so processes, ranks,
starts and machines add to one profile without asking each other, and whoever finds many parts may
replace them by what they come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

PROFILE = "tuneonce.profile/1"

PhaseWord = Literal["starting", "serving"]

UNUSED_STARTS = 5
"""What so many starts in a row did not use is dropped. Arbitrary: a week of daily restarts."""

MOST_VARIANTS, MOST_KEYS = 2000, 2000
"""How much a profile holds; what was used longest ago goes first. Arbitrary: several times what the
start of a server uses."""

KNOWN_AFTER = 2
"""After so many complete starts a profile says by itself what is needed. Arbitrary: one may have
ended early."""

_STARTS_KEPT = 16


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One start of the program: `id` is the same in all its processes. `at` is in seconds since
    1970. `complete`: it got as far as serving, or to its end, so that what it has not used counts
    as unused."""

    id: str
    at: float
    complete: bool = False


class UsedVariant(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One compiled variant of a kernel that was launched.

    `variant` is what Triton specialised the kernel for (`triton.compile.variants`), `options` what
    the launch gave besides, in its order. `binary` is the name under which Triton's cache had it,
    `key` a digest of the name under which the kernel's own cache had it. `phase` is where the last
    start that met it met it first, `starts` are the last starts that used it, `at` when that was
    last, in seconds since 1970.
    """

    kernel: str
    variant: dict[str, Any]
    options: list[tuple[str, Any]]
    binary: str
    key: str
    phase: PhaseWord
    starts: list[str]
    at: float

    @property
    def identity(self) -> tuple[str, str, str]:
        """Equal for the same variant of the same kernel under the same compiler."""
        return self.kernel, self.binary, self.key


class UsedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One key, at one work class, that was launched.

    `verdict` is the name of the record that says its winner, `winner` the candidate that was
    launched. `phase`, `starts` and `at` as for variants.
    """

    kernel: str
    verdict: str
    winner: str
    phase: PhaseWord
    starts: list[str]
    at: float

    @property
    def identity(self) -> str:
        return self.verdict


class ProfilePart(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What one process has met since its last part, or what several parts came to.

    `profile` is the profile's name, `id` this part's, no other has it.
    """

    profile: str
    id: str
    starts: list[Start]
    variants: list[UsedVariant]
    keys: list[UsedKey]


@dataclass
class Profile:
    """All parts of one name: what is used most comes first."""

    starts: list[Start] = field(default_factory=list)
    variants: list[UsedVariant] = field(default_factory=list)
    keys: list[UsedKey] = field(default_factory=list)

    @property
    def is_young(self) -> bool:
        """Whether it does not say by itself yet what a start needs."""
        return sum(start.complete for start in self.starts) < KNOWN_AFTER

    def extended(self, other: Profile) -> Profile:
        """This one, and behind it what another one has besides."""
        variants = {one.identity: one for one in (*other.variants, *self.variants)}
        keys = {one.identity: one for one in (*other.keys, *self.keys)}
        more = [one for one in other.variants if variants[one.identity] is one]
        more_keys = [one for one in other.keys if keys[one.identity] is one]
        return Profile(self.starts, [*self.variants, *more], [*self.keys, *more_keys])


def merge(parts: Iterable[ProfilePart]) -> Profile:
    """What parts come to. What the last complete starts did not use is left out."""
    parts = list(parts)
    starts: dict[str, Start] = {}
    for start in (start for part in parts for start in part.starts):
        known = starts.get(start.id)
        starts[start.id] = start if known is None else _both(known, start)
    newest = sorted(starts.values(), key=lambda start: (start.at, start.id), reverse=True)
    complete = [start for start in newest if start.complete][:UNUSED_STARTS]
    last = {start.id for start in complete}
    first = min((start.at for start in complete), default=0.0)
    # However many did not get far since: those that were complete say what is unused.
    named = [one for at, one in enumerate(newest) if at < _STARTS_KEPT or one.id in last]
    age = {start.id: number for number, start in enumerate(named)}

    def is_used(one: UsedVariant | UsedKey) -> bool:
        # Of a start that is not complete yet, too: it is later than those that are.
        return len(complete) < UNUSED_STARTS or one.at >= first or not last.isdisjoint(one.starts)

    variants = _together((one for part in parts for one in part.variants), age)
    keys = _together((one for part in parts for one in part.keys), age)
    return Profile(
        named,
        sorted(filter(is_used, variants), key=_most_used)[:MOST_VARIANTS],
        sorted(filter(is_used, keys), key=_most_used)[:MOST_KEYS],
    )


def _both(one: Start, other: Start) -> Start:
    return Start(one.id, min(one.at, other.at), one.complete or other.complete)


_Used = TypeVar("_Used", UsedVariant, UsedKey)


def _together(entries: Iterable[_Used], age: Mapping[str, int]) -> list[_Used]:
    """One entry for all of one identity. `age` numbers the starts that are named, newest first."""
    found: dict[Any, _Used] = {}
    for entry in entries:
        one = msgspec.structs.replace(entry, starts=_named(entry.starts, age))
        known = found.get(one.identity)
        found[one.identity] = one if known is None else _joined(known, one, age)
    return list(found.values())


def _named(starts: Iterable[str], age: Mapping[str, int]) -> list[str]:
    return sorted({start for start in starts if start in age}, key=age.__getitem__)


def _joined(one: _Used, other: _Used, age: Mapping[str, int]) -> _Used:
    """What two entries come to; the order in which entries are joined makes no difference."""
    starts = _named([*one.starts, *other.starts], age)
    # The newest start has the word about the phase, and in it the process that met it first.
    words = {e.phase for e in (one, other) if e.starts[:1] == starts[:1]}
    phase: PhaseWord = "starting" if "starting" in words else "serving"
    newer = max(one, other, key=_at if one.at != other.at else repr)
    return msgspec.structs.replace(newer, starts=starts, phase=phase)


def _at(one: UsedVariant | UsedKey) -> float:
    return one.at


def _most_used(one: UsedVariant | UsedKey) -> tuple[int, float, str]:
    return -len(one.starts), -one.at, one.kernel
