"""What a program has needed, start after start: its profile, in parts that processes write.

A part is a record of its own (`ProfilePart`), written by one process while it runs. Parts are put
together by `merge`, in any order and any number of times with the same result, so processes, ranks,
starts and machines add to one profile without asking each other, and whoever finds many parts may
replace them by what they come to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

PROFILE = "tuneonce.profile/1"

PhaseWord = Literal["starting", "serving"]

UNUSED_STARTS = 5
"""What so many starts in a row did not use is dropped. Arbitrary: a week of daily restarts."""

MOST_VARIANTS, MOST_KEYS = 2000, 2000
"""How much a profile holds; what was used longest ago goes first. Arbitrary: several times what the
start of a server uses."""

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


def merge(parts: Iterable[ProfilePart]) -> Profile:
    """What parts come to. What the last complete starts did not use is left out."""
    starts: dict[str, Start] = {}
    variants: dict[tuple[str, str, str], UsedVariant] = {}
    keys: dict[str, UsedKey] = {}
    for part in parts:
        for start in part.starts:
            known = starts.get(start.id)
            starts[start.id] = start if known is None else _later(known, start)
        for variant in part.variants:
            _add(variants, variant)
        for key in part.keys:
            _add(keys, key)
    newest = sorted(starts.values(), key=lambda start: (start.at, start.id), reverse=True)
    complete = [start.id for start in newest if start.complete][:UNUSED_STARTS]
    first = min((start.at for start in newest if start.id in complete), default=0.0)

    def is_used(one: UsedVariant | UsedKey) -> bool:
        # Of a start that is not complete yet, too: it is later than those that are.
        return len(complete) < UNUSED_STARTS or one.at >= first or bool({*one.starts} & {*complete})

    return Profile(
        newest[:_STARTS_KEPT],
        sorted(filter(is_used, variants.values()), key=_most_used)[:MOST_VARIANTS],
        sorted(filter(is_used, keys.values()), key=_most_used)[:MOST_KEYS],
    )


def _later(one: Start, other: Start) -> Start:
    return Start(one.id, min(one.at, other.at), one.complete or other.complete)


def _add(found: dict[Any, Any], one: UsedVariant | UsedKey) -> None:
    known = found.get(one.identity)
    if known is None:
        found[one.identity] = one
        return
    # Of one start the first word about the phase counts: what was met while starting is met then.
    newer, older = (one, known) if one.at > known.at else (known, one)
    same_start = bool({*newer.starts} & {*older.starts})
    phase = older.phase if same_start else newer.phase
    starts = list(dict.fromkeys([*newer.starts, *older.starts]))[:_STARTS_KEPT]
    found[one.identity] = msgspec.structs.replace(newer, starts=starts, phase=phase)


def _most_used(one: UsedVariant | UsedKey) -> tuple[int, float, str]:
    return -len(one.starts), -one.at, one.kernel
