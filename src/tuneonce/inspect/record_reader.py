"""Reads a store's records for people: key by key, kernels found by name.

`folders` believes what the resolver believes, and hands out what cannot be used as `Broken` instead
of raising: one bad record must not hide the others. One key's records are in memory at a time, and
no more of them than a key may have.
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Generic, TypeAlias, TypeVar

import msgspec

from ..errors import RecordUnreadable
from ..model.key import Parts
from ..model.record_names import ROOT, kernel_prefix, kind_of, readable, readable_name, unpack_named
from ..model.records import BadRecord, Measurement, R, Variants, Verdict, Wanted
from ..model.wording import kernel_label, kernel_name
from ..resolution.access import Budget
from ..store.base import Store

T = TypeVar("T")

# Arbitrary: a key has some twenty verdicts of a few KB, and one folder no more than as many keys.
_BYTES_OF_KEY, _NAMES = 16 * 1024 * 1024, 100_000


class Problem(msgspec.Struct, frozen=True):
    """A record that cannot be used. `reason` is one of a few words, `detail` a sentence."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Broken:
    """A name that cannot be used, as a record or a folder.

    `sha256` is that of the bytes that were read, None where none could be. What is not `movable`
    was not looked at, or is another user's.
    """

    problem: Problem
    sha256: str | None = None
    movable: bool = True


@dataclass(frozen=True)
class Held(Generic[R]):
    """A record and the digest of the bytes that it was read from."""

    name: str
    sha256: str
    record: R


AnyHeld: TypeAlias = "Held[Verdict] | Held[Measurement] | Held[Variants] | Held[Wanted]"


@dataclass
class Folder:
    """All records of one key. `kernel` and `world` are path parts, `readable~digest`."""

    kernel: str
    world: str
    key: str
    verdicts: list[Held[Verdict]] = field(default_factory=list)
    loose: list[Held[Measurement]] = field(default_factory=list)
    variants: list[Held[Variants]] = field(default_factory=list)
    wanted: list[Held[Wanted]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def parts(self) -> Parts | None:
        """The key's parts, which loose measurements do not carry."""
        if self.verdicts:
            return tuple(self.verdicts[0].record.key)
        if self.variants:
            return tuple(self.variants[0].record.key)
        return tuple(self.wanted[0].record.key) if self.wanted else None

    @property
    def held(self) -> list[AnyHeld]:
        """Verdicts, loose measurements, what candidates were compiled with, and what is wanted."""
        return [*self.verdicts, *self.loose, *self.variants, *self.wanted]

    def unfinished(self) -> dict[str, list[Measurement]]:
        """By work class, the measurements of candidates that no verdict there is about."""
        settled = {(v.record.work_class, c) for v in self.verdicts for c in v.record.candidates}
        classes: dict[str, list[Measurement]] = {}
        for held in self.loose:
            m = held.record
            if (m.work_class, m.candidate) not in settled:
                classes.setdefault(m.work_class, []).append(m)
        return classes


def folders(store: Store, prefix: str = ROOT) -> Iterator[Folder]:
    """Read every key below `prefix`, in the order of their addresses.

    Raises StoreError if the store itself fails; a record that cannot be used is in `broken`.
    """
    for name in _keys(store, prefix, levels=3):
        _, kernel, world_name, key = f"{name}//".split("/")[:4]
        folder = Folder(kernel, world_name, key)
        if not name.endswith("/"):
            folder.unknown.append(name)
            yield folder
            continue
        try:
            names = store.children(name, limit=_NAMES)
        except RecordUnreadable as error:
            folder.broken.append(unreadable(error))
            yield folder
            continue
        if names:
            _read_folder(store, names, folder)
            if len(names) == _NAMES:
                rest = Problem(name, "unread", f"it holds more than {_NAMES - 1:,} names")
                folder.broken.append(Broken(rest, movable=False))
            yield folder


def unreadable(error: RecordUnreadable) -> Broken:
    """What a store does not hand out."""
    problem = Problem(error.name, error.reason.value, error.detail)
    return Broken(problem, movable=error.in_the_way)


def _keys(store: Store, prefix: str, levels: int) -> Iterator[str]:
    """The folders of keys, what is no folder above them, and folders that are closed."""
    try:
        names = store.children(prefix, limit=_NAMES)
    except RecordUnreadable as error:
        yield error.name  # the caller lists it, too, and then reports why that fails
        return
    for name in sorted(names):
        if levels > 1 and name.endswith("/"):
            yield from _keys(store, name, levels - 1)
        else:
            yield name


def _read_folder(store: Store, names: Iterable[str], folder: Folder) -> None:
    budget = Budget(_BYTES_OF_KEY)
    for name in sorted(name.rstrip("/") for name in names):  # a folder in a record's place, too
        kind = kind_of(name)
        if kind is Verdict:
            sort_in(read_record(store, name, Verdict, budget), folder.verdicts, folder.broken)
        elif kind is Measurement:
            sort_in(read_record(store, name, Measurement, budget), folder.loose, folder.broken)
        elif kind is Variants:
            sort_in(read_record(store, name, Variants, budget), folder.variants, folder.broken)
        elif kind is Wanted:
            sort_in(read_record(store, name, Wanted, budget), folder.wanted, folder.broken)
        else:
            folder.unknown.append(name)


def sort_in(found: Held[R] | Broken | None, whole: list[Held[R]], broken: list[Broken]) -> None:
    """Put what was read where it belongs."""
    if isinstance(found, Broken):
        broken.append(found)
    elif found is not None:
        whole.append(found)


def read_record(store: Store, name: str, kind: type[R], budget: Budget) -> Held[R] | Broken | None:
    """A record, or why it is none; None: it was removed since it was listed."""
    if budget.left <= 0:
        beside = f"it lies beside {_BYTES_OF_KEY:,} bytes of other records of its key"
        return Broken(Problem(name, "unread", beside), movable=False)
    sha256 = None
    try:
        data = store.get(name)
        if data is None:
            return None
        budget.left -= len(data)
        sha256 = hashlib.sha256(data).hexdigest()
        return Held(name, sha256, unpack_named(name, data, kind))
    except RecordUnreadable as error:
        return unreadable(error)
    except BadRecord as error:
        detail = str(error).removeprefix(f"{error.reason}: ")
        return Broken(Problem(name, error.reason, detail), sha256, movable=error.in_the_way)


# -- kernels by name -----------------------------------------------------------------------------


def label_prefix(kernel: str) -> str:
    """What the names of all records of a kernel start with. `kernel` may have its module."""
    return kernel_prefix(kernel_name(kernel))


def pattern_prefix(pattern: str | None) -> str:
    """The least that must be listed to find everything that `pattern` matches."""
    if pattern is None or any(mark in pattern for mark in "*?["):
        return ROOT
    return label_prefix(pattern)


def matches(pattern: str | None, *, name: str, module: str | None) -> bool:
    """Whether a kernel is meant: by its name, as module:name, or by a glob on either.

    `module` is None for a kernel of which only loose measurements are left.
    """
    if pattern is None:
        return True
    label = kernel_label(name, module)
    if pattern in (name, label) or any(fnmatch.fnmatchcase(t, pattern) for t in (name, label)):
        return True
    return module is None and readable(kernel_name(pattern)) == readable(name)


# By a key's digest, what events say about it: its kernel's label, and its parts.
Known = Callable[[str], "tuple[str, Parts] | None"]


def nothing_known(key: str) -> None:
    """For a caller that has no events."""


@dataclass
class Naming:
    """The name and module of one kernel, as the newest of its verdicts has them.

    A file that moves is the same kernel, so records of one kernel may differ in its module.
    """

    directory: str
    name: str = ""
    module: str | None = None
    _newest: float = -math.inf

    def __post_init__(self) -> None:
        self.name = self.name or readable_name(self.directory)

    def see(self, folder: Folder) -> None:
        """Learn from one of the kernel's folders."""
        for held in folder.verdicts:
            if held.record.published_at > self._newest:
                self._newest = held.record.published_at
                self.name = dict(held.record.key).get("kernel.name", self.name)
                self.module = held.record.about.get("kernel.module")
        for wanted in folder.wanted if self._newest == -math.inf else ():
            module, _, self.name = wanted.record.kernel.rpartition(":")
            self.module = module or None

    def ask(self, folder: Folder, known: Known) -> Parts | None:
        """The parts of a key without a verdict, where events tell them; learns from them too."""
        told = known(folder.key) if folder.loose and not folder.verdicts else None
        if told is None:
            return None
        label, parts = told
        if self._newest == -math.inf:
            module, _, self.name = label.rpartition(":")
            self.module = module or None
        return parts

    @property
    def label(self) -> str:
        return kernel_label(self.name, self.module)

    def is_meant(self, pattern: str | None) -> bool:
        """Whether `pattern` means this kernel."""
        return matches(pattern, name=self.name, module=self.module)


@dataclass
class KernelFindings(Generic[T]):
    """What was found in the folders of one kernel; `label` is its ``module:name``."""

    label: str
    found: list[T]
    problems: list[Problem]


def kernels_of(
    store: Store,
    pattern: str | None,
    known: Known,
    find: Callable[[Folder, Parts | None], Iterable[T]],
) -> Iterator[KernelFindings[T]]:
    """The kernels that `pattern` means, and what `find` finds in each of their keys' folders.

    It is given the key's parts, None where nothing tells them. Raises as `folders`.
    """
    everything = folders(store, pattern_prefix(pattern))
    for directory, group in groupby(everything, key=lambda folder: folder.kernel):
        naming = Naming(directory)
        found: list[T] = []
        problems: list[Problem] = []
        for folder in group:
            naming.see(folder)
            found += find(folder, folder.parts or naming.ask(folder, known))
            problems += [broken.problem for broken in folder.broken]
        if naming.is_meant(pattern):
            yield KernelFindings(naming.label, found, problems)


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """The names that may have been meant, the likeliest first; labels match by their names."""
    wanted = kernel_name(name).lower()
    by_name: dict[str, str] = {}
    for full in sorted(known):
        by_name.setdefault(kernel_name(full).lower(), full)
    inside = [n for n in by_name if wanted in n]
    close = difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.5)
    return [by_name[n] for n in dict.fromkeys([*close, *inside])][:3]


def kernel_names(store: Store) -> list[str]:
    """The readable names of all kernels, for error messages."""
    kernels = store.children(ROOT, limit=_NAMES)
    return sorted({readable_name(name.split("/")[1]) for name in kernels} - {""})
