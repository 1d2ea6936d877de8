"""Carries results of kernels from a store to a file, and from a file into a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from ..errors import RecordUnreadable
from ..model.key import Parts
from ..model.record_names import readable_name
from ..model.records import BadRecord
from ..model.wording import world as facts_of
from ..replica.exchange import Step, Tell
from ..replica.shared import checked_result, is_result
from ..store.base import Store
from . import archive
from .archive import BadArchive, Entry
from .landing import Landed, Landing, found, words_of
from .record_reader import Folder, kernels_of, nothing_known
from .upkeep import is_world

# Progress is told after so many records. Arbitrary.
_STEP = 100

# So many problems are told; the others are counted. Arbitrary.
_TOLD = 100


class Exported(msgspec.Struct, kw_only=True):
    """What went into a file: `records`, of so many `kernels`.

    `sha256` is that of the archive before it was compressed, the same for the same records.
    `unusable` records are not in it; `problems` tell of some.
    """

    records: int = 0
    kernels: int = 0
    sha256: str = ""
    unusable: int = 0
    problems: list[str] = msgspec.field(default_factory=list)


def export(
    store: Store,
    file: BinaryIO,
    *,
    pattern: str | None = None,
    world: str | None = None,
    tell: Tell = lambda step: None,
) -> Exported:
    """Write the results of the kernels that `pattern` means, in the worlds of the glob.

    Both as in `inspect.upkeep.Selection`. Raises StoreError, BadArchive for more than a file may
    have, and OSError for the file.
    """
    did = Exported()

    def found_in(folder: Folder, parts: Parts | None) -> list[str]:
        facts = {} if parts is None else facts_of(parts)
        if world is not None and not is_world(world, facts, readable_name(folder.world)):
            return []
        return [held.name for held in folder.held if is_result(held.name)]

    names: list[str] = []
    for kernel in kernels_of(store, pattern, nothing_known, found_in):
        names += kernel.found
        for problem in kernel.problems:
            why = ": ".join(filter(None, (problem.reason, problem.detail)))
            _refuse(did, f"{problem.name} is not written: {why}")
    did.sha256 = archive.write(file, _records(store, sorted(names), did, tell))
    return did


def _records(store: Store, names: list[str], did: Exported, tell: Tell) -> Iterator[Entry]:
    kernels = set()
    for number, name in enumerate(names, start=1):
        try:
            data = store.get(name)
            if data is not None:  # else it was removed since it was listed
                checked_result(name, data)
                if not archive.fits(name):
                    raise BadRecord("misplaced", "no launch looks for it there")
                kernels.add(name.split("/")[1])
                did.records += 1
                yield Entry(name, data)
        except (BadRecord, RecordUnreadable) as error:
            _refuse(did, f"{name} is not written: {words_of(error)}")
        if number % _STEP == 0:
            tell(Step(number, len(names)))
    did.kernels = len(kernels)


def _refuse(did: Exported, problem: str) -> None:
    did.unusable += 1
    if len(did.problems) < _TOLD:
        did.problems.append(problem)


class Imported(msgspec.Struct, kw_only=True):
    """What came out of a file. `broken` says what is wrong with it; then what came before stays."""

    landed: Landed
    broken: str | None = None


def take_in(
    store: Store,
    file: BinaryIO,
    source: str,
    *,
    dry_run: bool = False,
    tell: Tell = lambda step: None,
) -> Imported:
    """Put the records of a file into a store, as a merge does; `source` is its name for people.

    Each record is checked by itself and put there before the next one is read. Raises StoreError,
    and OSError for the file.
    """
    landing = Landing(store, dry_run=dry_run)
    done = Imported(landed=landing.did)
    try:
        for number, (name, data) in enumerate(archive.read(file), start=1):
            if not is_result(name):
                landing.did.unknown += 1
                continue
            try:
                offer = found(source, name, data)
            except BadRecord as error:
                landing.refuse(name, error)
                continue
            landing.take(name, [offer])
            if number % _STEP == 0:
                tell(Step(number))
    except BadArchive as error:
        done.broken = str(error)
    return done
