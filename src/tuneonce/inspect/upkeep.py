"""Keeping a store in order: `verify` reads all of it, `plan_removal` and `remove` empty it.

Nothing is taken away that was not looked at: a record is removed or set aside only while it still
holds the bytes that were read.
"""

from __future__ import annotations

import fnmatch
import hashlib
from dataclasses import dataclass

import msgspec

from ..errors import RecordUnreadable, StoreError
from ..model.key import Parts
from ..model.record_names import candidate_digest, is_folder_of, readable_name
from ..model.records import Measurement, Variants, Verdict, Wanted
from ..model.shared_profiles import last_used as last_told
from ..model.wording import world, world_text
from ..store.base import Store
from .profile_reader import ProfileFolder, last_used, profile_folders
from .record_reader import (
    AnyHeld,
    Broken,
    Folder,
    Known,
    Problem,
    folders,
    kernels_of,
    nothing_known,
)

# -- `tuneonce verify` ---------------------------------------------------------------------------


class Bad(msgspec.Struct, frozen=True):
    """A record that is not whole, or not what its name says. `set_aside`: it was moved away."""

    name: str
    reason: str
    detail: str
    set_aside: bool = False


class Verification(msgspec.Struct, frozen=True):
    """`verdicts`, `measurements`, `variants`, `wanted` and `profiles` (parts of them, and what is
    shared of them) count good ones; `unknown` are names that this version does not know, which are
    left alone. `base` is a directory under the store that was read, too."""

    schema: str
    store: str
    location: str
    verdicts: int
    measurements: int
    variants: int
    wanted: int
    bad: list[Bad]
    unknown: list[str]
    profiles: int = 0
    base: str = ""


def verify(store: Store, *, set_aside: bool = False) -> Verification:
    """Read every record; with `set_aside`, move away those that cannot be used."""
    verdicts = measurements = variants = wanted = profiles = 0
    bad: list[Bad] = []
    unknown: list[str] = []
    for folder in folders(store):
        unknown += folder.unknown
        found = list(folder.broken)
        for held in folder.held:
            problem = misfit(folder, held)
            if problem is not None:
                found.append(Broken(problem, held.sha256))
            elif isinstance(held.record, Verdict):
                verdicts += 1
            elif isinstance(held.record, Variants):
                variants += 1
            elif isinstance(held.record, Wanted):
                wanted += 1
            else:
                measurements += 1
        bad += [_report(store, broken, set_aside=set_aside) for broken in found]
    for profile in profile_folders(store):
        unknown += profile.unknown
        profiles += len(profile.parts) + len(profile.shared)
        bad += [_report(store, broken, set_aside=set_aside) for broken in profile.broken]
    info = store.describe()
    return Verification(
        schema="tuneonce.verify/1",
        store=info.url,
        location=info.location,
        verdicts=verdicts,
        measurements=measurements,
        variants=variants,
        wanted=wanted,
        bad=bad,
        unknown=unknown,
        profiles=profiles,
        base=info.base,
    )


def _report(store: Store, broken: Broken, *, set_aside: bool) -> Bad:
    problem = broken.problem
    moved, detail = False, problem.detail
    if set_aside and broken.movable:
        try:
            seen = None
            if broken.sha256 is not None:
                seen = _unchanged(store, problem.name, broken.sha256)
                if seen is None:
                    return Bad(problem.name, problem.reason, detail)
            moved = store.set_aside(problem.name, seen=seen)
        except StoreError as error:
            detail = f"{detail}; left in place: {error}"
    return Bad(problem.name, problem.reason, detail, moved)


def misfit(folder: Folder, held: AnyHeld) -> Problem | None:
    """What is wrong with a record that is whole and stands where its key belongs.

    A launch does not pay for these checks: it looks for no other folder than the right one, and a
    candidate only ever selects a live one by its digest.
    """
    record = held.record
    wrong = "" if isinstance(record, Measurement) else _wrong_folder(folder, record.key)
    measurements: list[Measurement] = []
    if isinstance(record, Measurement):
        measurements = [record]
    elif isinstance(record, Verdict):
        measurements = record.measurements
    for measurement in measurements:
        if candidate_digest(measurement.config) != measurement.candidate:
            wrong = wrong or f"candidate {measurement.candidate} has another's configuration"
    return Problem(held.name, "misplaced", wrong) if wrong else None


def _wrong_folder(folder: Folder, key: list[tuple[str, str]]) -> str:
    if not is_folder_of(folder.kernel, (part for part in key if part[0].startswith("kernel."))):
        return "its kernel belongs to another folder"
    if not is_folder_of(folder.world, world(key).items()):
        return "its world belongs to another folder"
    return ""


# -- `tuneonce rm` -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Selection:
    """Which records to remove: all of these must hold.

    `pattern` is a kernel's name, module:name, or a glob on either; None means every kernel. `world`
    is a glob, without regard to case, on the product, the architecture, the compiler, or all of
    it as `tuneonce ls` writes it. `before` is a time, in seconds since 1970: older records are
    meant. `origin` is a verdict's; other records have none.
    """

    pattern: str | None = None
    world: str | None = None
    before: float | None = None
    origin: str | None = None

    @property
    def is_of_no_kernel(self) -> bool:
        """Whether what is of no kernel and world is meant, too: profiles."""
        return self.pattern is None and self.world is None and self.origin is None


class Doomed(msgspec.Struct, frozen=True):
    """A record that is to be removed, as it was when it was read.

    Of a part of a profile, or of what is shared of it, `kernel` is the profile's name, and
    `written_at` when it was last used.
    """

    name: str
    kernel: str
    world: str
    kind: str
    written_at: float
    sha256: str


class Removal(msgspec.Struct, frozen=True):
    """What is to be removed, or was (`removed` > 0). `changed` records were not: another process
    has removed or replaced them since. `matched` is False if there is no such kernel."""

    schema: str
    store: str
    location: str
    matched: bool
    records: list[Doomed]
    problems: list[Problem]
    removed: int = 0
    changed: int = 0


def plan_removal(store: Store, selection: Selection, *, known: Known = nothing_known) -> Removal:
    """Find the records that `selection` means; removes nothing."""
    doomed: list[Doomed] = []
    problems: list[Problem] = []
    matched = False

    def found_in(folder: Folder, parts: Parts | None) -> list[Doomed]:
        return _doomed(folder, selection, {} if parts is None else world(parts))

    for kernel in kernels_of(store, selection.pattern, known, found_in):
        matched = True
        doomed += [msgspec.structs.replace(one, kernel=kernel.label) for one in kernel.found]
        problems += kernel.problems
    if selection.is_of_no_kernel:
        for profile in profile_folders(store):
            doomed += _doomed_parts(profile, selection)
            problems += [broken.problem for broken in profile.broken]
    info = store.describe()
    return Removal("tuneonce.rm/1", info.url, info.location, matched, doomed, problems)


def _doomed(folder: Folder, selection: Selection, facts: dict[str, str]) -> list[Doomed]:
    readable_world = readable_name(folder.world)
    name = world_text(facts) if facts else readable_world
    if selection.world is not None and not is_world(selection.world, facts, readable_world):
        return []
    found = []
    for held in folder.held:
        record = held.record
        if isinstance(record, Verdict):
            kind, origin, written = "verdict", record.origin, record.published_at
        elif isinstance(record, Variants):
            kind, origin, written = "variants", None, record.recorded_at
        elif isinstance(record, Wanted):
            kind, origin, written = "wanted", None, record.recorded_at
        else:
            kind, origin, written = "measurement", None, record.measured_at
        if selection.origin is not None and origin != selection.origin:
            continue
        if selection.before is not None and written >= selection.before:
            continue
        found.append(Doomed(held.name, "", name, kind, written, held.sha256))
    return found


def _doomed_parts(profile: ProfileFolder, selection: Selection) -> list[Doomed]:
    of_parts = [(held.name, last_used(held.record), held.sha256) for held in profile.parts]
    of_shared = [(held.name, last_told(held.record), held.sha256) for held in profile.shared]
    return [
        Doomed(name, profile.name, "", "profile", used, sha256)
        for name, used, sha256 in (*of_parts, *of_shared)
        if selection.before is None or used < selection.before
    ]


def is_world(pattern: str, facts: dict[str, str], readable_world: str) -> bool:
    """Whether a glob means a world, of which `facts` are the parts, if they are known."""
    # Whole words only: H20 must not mean the H200.
    texts = [readable_world]
    if facts:
        target = f"{facts.get('backend')}:{facts.get('arch')}"
        texts += [facts.get("product", ""), target, facts.get("compiler", ""), world_text(facts)]
    return any(fnmatch.fnmatchcase(text.lower(), pattern.lower()) for text in texts)


def remove(store: Store, plan: Removal) -> Removal:
    """Remove the records of `plan` that are still as they were. Raises StoreError."""
    removed = sum(_remove_one(store, one) for one in plan.records)
    return msgspec.structs.replace(plan, removed=removed, changed=len(plan.records) - removed)


def _remove_one(store: Store, one: Doomed) -> bool:
    try:
        data = _unchanged(store, one.name, one.sha256)
        return data is not None and store.delete_if(one.name, data)
    except RecordUnreadable:
        return False


def _unchanged(store: Store, name: str, sha256: str) -> bytes | None:
    """The bytes of a record that are still those that were read; else None. Raises StoreError."""
    data = store.get(name)
    return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None
