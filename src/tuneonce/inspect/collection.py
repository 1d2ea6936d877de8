"""What `tuneonce gc` tells: a plan, and what became of it, as one document."""

from __future__ import annotations

import msgspec

from ..store.base import Store
from .clearing import Cleared
from .garbage import Plan, Stored
from .holdings import Held
from .leftovers import by_kind


class Group(msgspec.Struct):
    """Keys of one kernel and world that are to go, or profiles of one program.

    `used_at` is the last use of the one that was used last, in seconds since 1970.
    """

    kind: str
    kernel: str
    world: str
    number: int = 0
    bytes: int = 0
    used_at: float = 0.0

    def add(self, one: Stored) -> None:
        self.number += 1
        self.bytes += one.bytes
        self.used_at = max(self.used_at, one.used_at)


class Collection(msgspec.Struct):
    """`kinds` are all files of the store, `bytes` their sum without compiled binaries,
    `bytes_after` what the plan leaves of it, `most_bytes` what was asked for. `going` are keys and
    profiles, `left_over` what nobody needs, by kind. `recent` and `others` would have gone, and
    stay: they were just written, or are other users'. `closed` folders could not be looked into.
    `removed` is null where nothing was to be.
    """

    schema: str
    store: str
    location: str
    bytes: int
    bytes_after: int
    most_bytes: int | None
    kinds: dict[str, Held]
    going: list[Stored]
    groups: list[Group]
    left_over: dict[str, Held]
    recent: Held
    others: Held
    closed: int
    unread_profiles: int
    note: str
    removed: Cleared | None = None

    @property
    def numbers(self) -> tuple[int, int]:
        """How many keys and profiles go."""
        keys = sum(one.kind == "key" for one in self.going)
        return keys, len(self.going) - keys


def collection(store: Store, plan: Plan, most_bytes: int | None, *, note: str = "") -> Collection:
    """The document of a plan."""
    info = store.describe()
    groups: dict[tuple[str, str, str], Group] = {}
    for one in plan.going:
        named = (one.kind, one.kernel, one.world)
        groups.setdefault(named, Group(*named)).add(one)
    others = Held(
        plan.others.files + plan.leftovers.others.files,
        plan.others.bytes + plan.leftovers.others.bytes,
    )
    return Collection(
        "tuneonce.gc/1",
        info.url,
        info.location,
        plan.held.bytes,
        plan.bytes_after,
        most_bytes,
        plan.held.kinds,
        plan.going,
        [groups[named] for named in sorted(groups)],
        by_kind(plan.left_over),
        plan.recent,
        others,
        plan.held.closed,
        plan.unread,
        note,
    )
