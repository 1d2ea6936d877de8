"""Removing what `garbage` has planned, beside readers and writers in other processes and hosts.

Nothing is locked but the journals of a key that goes. A record goes only if it is still the file
that was seen, and then by comparison with what was read from it (`Store.delete_if`), so one that
was replaced meanwhile stays. A verdict goes last of its key: whoever is killed in between has left
a key that hits, and never what would be compiled ahead, or measured on, for a verdict that has
gone. All of it can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..errors import RecordUnreadable, StoreReadOnly
from ..model.record_names import kind_of
from ..model.records import Measurement, Variants, Verdict, Wanted
from ..resolution.left_journals import held
from ..store.base import Store
from ..store.walking import File, Folder, is_still, look, prune
from .garbage import Plan, Stored
from .holdings import Held, is_record
from .leftovers import remove

_ORDER: list[type | None] = [Variants, Wanted, Measurement, Verdict]


class Cleared(msgspec.Struct):
    """What has gone. `changed` keys and profiles are left because they were written to, or removed
    by somebody else, since they were seen, or are being tuned; `refused` ones because the file
    system does not let them go."""

    keys: int = 0
    profiles: int = 0
    bytes: int = 0
    changed: int = 0
    refused: int = 0
    left_over: dict[str, Held] = {}


def clear(store: Store, plan: Plan, *, each: Callable[[], object] = lambda: None) -> Cleared:
    """Carry out a plan. `each` is called before each key, and may raise to end it.

    Raises StoreError if the store itself fails.
    """
    done = Cleared()
    done.left_over = remove(plan.left_over)
    done.bytes = sum(one.bytes for one in done.left_over.values())
    for one in plan.going:
        each()
        with held(plan.journals.get(one.folder, ())) as journals:
            if journals is None or (folder := _unchanged(plan, one)) is None:
                done.changed += 1
                continue
            try:
                ended = _remove_records(store, plan.location, folder, done)
            except StoreReadOnly:
                done.refused += 1
                continue
            if ended is None:
                done.changed += 1
                continue
            done.bytes += sum(journal.remove() for journal in journals)
            done.keys += ended and one.kind == "key"
            done.profiles += ended and one.kind == "profile"
        prune(plan.location, one.folder)
    return done


def _unchanged(plan: Plan, one: Stored) -> Folder | None:
    """The folder of a key or profile, as long as nothing has come to it."""
    folder, _ = look(plan.location, one.folder)
    files = [] if folder is None else _records(folder)
    if not files or max(file.written_at for file in files) > one.written_at:
        return None
    return folder if sum(file.bytes for file in files) <= one.bytes else None


def _records(folder: Folder) -> list[File]:
    """Its records, in the order in which they go."""
    found = [file for file in folder.files if is_record(folder.name, file.name)]
    return sorted(found, key=lambda file: _place(file.name))


def _place(name: str) -> tuple[int, str]:
    kind = kind_of(name)
    return (_ORDER.index(kind) if kind in _ORDER else 0), name


def _remove_records(store: Store, root: str, folder: Folder, done: Cleared) -> bool | None:
    """Remove them one by one: whether the last one was removed here, and not by another process.

    None as soon as one is not what it was. Raises StoreError.
    """
    ended = False
    for file in _records(folder):
        name = f"{folder.name}/{file.name}"
        try:
            data = store.get(name)
            ended = data is not None
            if data is None:
                continue
            if not is_still(root, folder.name, file) or not store.delete_if(name, data):
                return None
        except RecordUnreadable:
            return None
        done.bytes += file.bytes
    return ended
