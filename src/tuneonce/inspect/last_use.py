"""When keys and profiles of a store were used last, as far as the store knows.

A launch writes nothing when it finds its key, so there is no time of use beside a record. What each
start has used is in its profile (`model.profiles`): the last use of a key is that of the last start
whose profile names one of its verdicts. What no profile names was used when it was written, for all
that is known: by programs that keep no profile, and before there were any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import RecordUnreadable
from ..model.profiles import ProfilePart
from ..model.record_names import PROFILES, kind_of, unpack_named
from ..model.records import BadRecord
from ..store.base import Store
from .profile_reader import last_used

# Whoever puts parts of a profile together stores the result before he removes them. So a part that
# has gone between listing and reading is in one that another look finds. Arbitrary.
_LOOKS = 4


@dataclass
class LastUses:
    """In seconds since 1970, by folders of the store. `unread`: parts that could not be read."""

    of_keys: dict[str, float] = field(default_factory=dict)
    of_profiles: dict[str, float] = field(default_factory=dict)
    unread: int = 0

    def see(self, folder: str, part: ProfilePart) -> None:
        """Learn from a part of the profile in `folder`."""
        for used in part.keys:
            key = used.verdict.rpartition("/")[0]
            self.of_keys[key] = max(used.at, self.of_keys.get(key, used.at))
        self.of_profiles[folder] = max(last_used(part), self.of_profiles.get(folder, 0.0))


def last_uses(store: Store, each: Callable[[], object] = lambda: None) -> LastUses:
    """What all profiles say. One part is in memory at a time. Raises StoreError.

    `each` is called for each part, and may raise to end it.
    """
    uses = LastUses()
    try:
        folders = [name for name in store.children(PROFILES) if name.endswith("/")]
    except RecordUnreadable:
        return LastUses(unread=1)
    for folder in folders:
        for _ in range(_LOOKS):
            unread, there = _see_all(store, folder, uses, each)
            if there:
                break
        uses.unread += unread
    return uses


def _see_all(
    store: Store, folder: str, uses: LastUses, each: Callable[[], object]
) -> tuple[int, bool]:
    """Read a profile: how many parts cannot be, and whether none has gone since it was listed."""
    try:
        names = store.children(folder)
    except RecordUnreadable:
        return 1, True
    unread, there = 0, True
    for name in names:
        if kind_of(name) is not ProfilePart:
            continue
        each()
        try:
            data = store.get(name)
            if data is None:
                there = False
            else:
                uses.see(folder.rstrip("/"), unpack_named(name, data, ProfilePart))
        except (RecordUnreadable, BadRecord):
            unread += 1
    return unread, there
