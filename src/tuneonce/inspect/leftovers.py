"""What nobody needs any more in a store, besides its records, and by which rule.

==============  ==================================================================================
temporary       a put, or a removal, has such a file for milliseconds; after an hour it was killed
set aside       for a person to look at, who has not for 30 days
journals        of a tuning that was cut off 30 days ago, and never begun again
binaries        no start has used them for 30 days: each start that does sets their time; of this
                user alone
folders         empty for an hour
==============  ==================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..model.record_names import ROOT
from ..resolution.left_journals import LeftJournal, held
from ..store.walking import (
    File,
    Folder,
    discard,
    is_abandoned,
    is_temporary,
    look,
    prune,
    set_aside_at,
)
from .holdings import BINARIES, SET_ASIDE, TEMPORARY, Held, is_profile, kind_word

FOLDERS = "folders"

DEAD_S = 30 * 24 * 3600.0
"""What was not needed for so long is not. Arbitrary: longer than people are away."""

_EMPTY_S = 3600.0
"""A writer fills the folder that it has made within milliseconds. Arbitrary."""


class LeftOver(msgspec.Struct, frozen=True):
    """A file that nobody needs, or an empty folder. `root` and `folder` say where it lies."""

    kind: str
    root: str
    folder: str
    file: File | None = None
    journal: LeftJournal | None = None

    @property
    def bytes(self) -> int:
        if self.journal is not None:
            return self.journal.bytes
        return 0 if self.file is None else self.file.bytes

    def is_in(self, store: str) -> bool:
        """Whether it lies in a store's directory, and not near it."""
        return self.root == store or self.root.startswith(f"{store}/")


class LeftOvers:
    """Those that were found. `others` belong to other users, and are left to them."""

    def __init__(self, root: str, now: float) -> None:
        self._root, self._now = root, now
        self.found: list[LeftOver] = []
        self.others = Held()

    def see(self, folder: Folder) -> None:
        """Look through a folder of the store."""
        if folder.empty and _is_of_records(folder.name) and self._is_old(folder.changed_at):
            self.found.append(LeftOver(FOLDERS, self._root, folder.name))
        for file in folder.files:
            kind = kind_word(folder.name, file.name)
            if file.regular and self._is_dead(kind, file):
                self._add(LeftOver(kind, self._root, folder.name, file), file.owner)

    def see_near(self, directory: Path) -> None:
        """Look through a folder of binaries that is elsewhere."""
        try:
            folder, _ = look(str(directory), "")
        except OSError:
            return
        for file in () if folder is None else folder.files:
            if file.regular and self._is_dead(BINARIES, file):
                self._add(LeftOver(BINARIES, str(directory), "", file), file.owner)

    def see_journals(self, journals: Iterable[LeftJournal]) -> None:
        """Look at journals, wherever they are."""
        for one in journals:
            if self._now - one.written_at > DEAD_S:
                self._add(LeftOver("journals", str(one.path.parent), "", journal=one), one.owner)

    def _add(self, one: LeftOver, owner: int) -> None:
        if is_ours(owner):
            self.found.append(one)
        else:
            self.others.add(one.bytes)

    def _is_old(self, changed_at: float) -> bool:
        return self._now - changed_at > _EMPTY_S

    def _is_dead(self, kind: str, file: File) -> bool:
        if kind == TEMPORARY or is_temporary(file.name):
            return is_abandoned(file, self._now)
        if kind == SET_ASIDE:
            at = set_aside_at(file.name)
            return at is not None and self._now - at > DEAD_S
        if kind != BINARIES:
            return False
        if file.name.startswith(".draft-"):
            return self._is_old(file.written_at)
        return file.name.endswith(".zip") and self._now - file.written_at > DEAD_S


def is_ours(owner: int) -> bool:
    """Whether this user may remove a file of that one: its own, or any, for root."""
    return os.geteuid() in (owner, 0)


def _is_of_records(folder: str) -> bool:
    """Whether a folder is one that writers of records make."""
    return is_profile(folder) or (folder.startswith(ROOT) and folder.count("/") <= 3)


def remove(leftovers: Iterable[LeftOver]) -> dict[str, Held]:
    """Remove what is still as it was found; what has gone, by kind. Raises nothing."""
    gone: dict[str, Held] = {}
    for one in leftovers:
        if one.journal is not None:
            with held([one.journal]) as journals:
                done = sum(journal.remove() > 0 for journal in journals or ()) > 0
        elif one.file is not None:
            done = discard(one.root, one.folder, one.file)
        else:
            done = prune(one.root, one.folder) > 0
        if done:
            gone.setdefault(one.kind, Held()).add(one.bytes)
    return gone


def by_kind(leftovers: Iterable[LeftOver]) -> dict[str, Held]:
    """How many of each kind, and their bytes."""
    found: dict[str, Held] = {}
    for one in leftovers:
        found.setdefault(one.kind, Held()).add(one.bytes)
    return dict(sorted(found.items()))
