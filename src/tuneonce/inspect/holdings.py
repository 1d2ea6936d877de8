"""How much a store holds, by kind, kernel and world: the sizes of its files, none of which is read.

A store that is no directory has no such sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ..errors import StoreUnavailable
from ..model.profiles import ProfilePart
from ..model.record_names import PROFILES, ROOT, kind_of
from ..model.records import Measurement, Variants, Verdict, Wanted
from ..model.shared_profiles import SharedProfile
from ..resolution.journal import FOLDER as JOURNALS
from ..settings import BINARIES as FOLDERS_OF_BINARIES
from ..store.base import Store
from ..store.walking import Folder, is_set_aside, is_temporary, walk

BINARIES, TEMPORARY, SET_ASIDE, UNKNOWN = "binaries", "temporary", "set aside", "unknown"

_WORDS: dict[type | None, str] = {
    Verdict: "verdicts",
    Variants: "variants",
    Measurement: "measurements",
    Wanted: "wanted",
}

_RECORDS = frozenset({*_WORDS.values(), "profiles"})

KINDS = (*_WORDS.values(), "profiles", "journals", SET_ASIDE, TEMPORARY, BINARIES, UNKNOWN)
"""What files are, in the order in which they are told. `UNKNOWN` are those of other versions and
of other programs."""


class Held(msgspec.Struct):
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.files += 1
        self.bytes += size


class Holdings(msgspec.Struct):
    """`kinds` has those of `KINDS` that are there; `bytes` is their sum without `BINARIES`, which
    are each user's own and have a limit of their own. `worlds` is by ``kernel/world``, as they are
    called in the store. `closed` folders could not be looked into.
    """

    bytes: int = 0
    closed: int = 0
    kinds: dict[str, Held] = {}
    worlds: dict[str, Held] = {}

    def see(self, folder: Folder) -> None:
        """Count what is in a folder."""
        self.closed += folder.closed
        world = world_of(folder.name)
        for file in folder.files:
            kind = kind_word(folder.name, file.name)
            self.kinds.setdefault(kind, Held()).add(file.bytes)
            self.bytes += 0 if kind == BINARIES else file.bytes
            if world is not None:
                self.worlds.setdefault(world, Held()).add(file.bytes)

    def in_order(self) -> Holdings:
        """The same, with the kinds in the order of `KINDS`."""
        kinds = {kind: self.kinds[kind] for kind in KINDS if kind in self.kinds}
        return Holdings(self.bytes, self.closed, kinds, dict(sorted(self.worlds.items())))


def is_key(folder: str) -> bool:
    """Whether a folder is that of one key."""
    return folder.startswith(ROOT) and folder.count("/") == 3


def is_profile(folder: str) -> bool:
    """Whether a folder is that of one profile."""
    return folder.startswith(PROFILES) and folder.count("/") == 1


def world_of(folder: str) -> str | None:
    """``kernel/world`` of a key's folder."""
    return "/".join(folder.split("/")[1:3]) if is_key(folder) else None


def kind_word(folder: str, name: str) -> str:
    """What a file of a store is, one of `KINDS`."""
    top = folder.partition("/")[0]
    if is_set_aside(folder):
        return SET_ASIDE
    if top == JOURNALS:
        return "journals"
    if top.startswith(FOLDERS_OF_BINARIES):
        return BINARIES
    if is_temporary(name):
        return TEMPORARY
    kind = kind_of(name)
    if is_profile(folder) and kind in (ProfilePart, SharedProfile):
        return "profiles"
    return _WORDS.get(kind, UNKNOWN) if is_key(folder) else UNKNOWN


def is_record(folder: str, name: str) -> bool:
    """Whether a file is a record of a key or a profile, by its name."""
    return kind_word(folder, name) in _RECORDS


def holdings(store: Store, kernels: Iterable[str] | None = None) -> Holdings | None:
    """What a store holds; with `kernels`, their folders' names, of these alone.

    None for one that is no directory. Raises StoreUnavailable.
    """
    if store.describe().kind != "files":
        return None
    below = [""] if kernels is None else [f"{ROOT}{kernel}" for kernel in sorted(set(kernels))]
    found = Holdings()
    for start in below:
        for folder in folders_of(store, start):
            found.see(folder)
    return found.in_order()


def folders_of(store: Store, below: str = "") -> Iterator[Folder]:
    """`walk` through a store of files. Raises StoreUnavailable."""
    info = store.describe()
    try:
        yield from walk(info.location, below)
    except FileNotFoundError:  # over a base it may not be there yet
        return
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreUnavailable(f"{info.url} cannot be listed: {why}", store=info.url) from error
