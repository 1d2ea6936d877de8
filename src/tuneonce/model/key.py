"""Keys: a list of named parts that can be printed, hashed and compared part by part.

What is *not* in a key: the module's name and path (a file that moves is the same kernel), line
numbers, comments above the kernel, the order of keyword arguments, host names, directories, the
order of candidates. How the names of records are made from a key: `model.record_names`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..system.forks import lazy
from .codec import Encoded, canonical
from .record_names import (
    ROOT,
    candidate_digest,
    measurement_file,
    named_folder,
    parts_digest,
    variants_file,
    verdict_file,
    wanted_file,
)

Parts = tuple[tuple[str, str], ...]

UNKNOWN_CLASS = "cxx"


@dataclass(frozen=True)
class KernelId:
    """A kernel: its qualified name, and its source as named parts (`triton.kernel.identity`).

    `module` is for display: the same code in another module is the same kernel.
    """

    name: str
    module: str
    source: Parts

    @lazy
    def parts(self) -> Parts:
        return (("kernel.name", self.name), *((f"kernel.{n}", t) for n, t in self.source))

    @lazy
    def directory(self) -> str:
        return named_folder(self.name, self.parts)


@dataclass(frozen=True)
class Candidate:
    """One live configuration: its named values, encoded. `digest` identifies it in records."""

    config: tuple[tuple[str, Encoded], ...]

    @lazy
    def digest(self) -> str:
        return candidate_digest(self.config)


@dataclass(frozen=True)
class Key:
    """Kernel + tuning key + world: everything a verdict holds for, but the work class."""

    kernel: KernelId
    tuning: tuple[tuple[str, Encoded], ...]
    world: Parts
    world_name: str

    @lazy
    def parts(self) -> Parts:
        """All parts in a fixed order; equal keys have equal parts."""
        tuning = tuple((f"key.{name}", canonical(value)) for name, value in self.tuning)
        world = tuple((f"world.{name}", text) for name, text in self.world)
        return (*self.kernel.parts, *tuning, *world)

    @lazy
    def digest(self) -> str:
        return parts_digest(self.parts)

    @lazy
    def directory(self) -> str:
        world = named_folder(self.world_name, self.world)
        return f"{ROOT}{self.kernel.directory}/{world}/{self.digest}"

    def verdict_name(self, work_class: str, candidates: Iterable[str]) -> str:
        return f"{self.directory}/{verdict_file(work_class, candidates)}"

    def variants_name(self, work_class: str, candidates: Iterable[str]) -> str:
        return f"{self.directory}/{variants_file(work_class, candidates)}"

    def wanted_name(self, work_class: str, candidates: Iterable[str]) -> str:
        return f"{self.directory}/{wanted_file(work_class, candidates)}"

    def measurement_name(self, work_class: str, candidate: str) -> str:
        return f"{self.directory}/{measurement_file(work_class, candidate)}"


@dataclass(frozen=True)
class Difference:
    """One named part that differs: `ours` was asked for, `theirs` is in the record."""

    part: str
    ours: str | None
    theirs: str | None


def compare(ours: Iterable[tuple[str, str]], theirs: Iterable[tuple[str, str]]) -> list[Difference]:
    """The parts that differ, in the order of `ours`, then those that only `theirs` has."""
    left, right = dict(ours), dict(theirs)
    names = [*left, *(name for name in right if name not in left)]
    return [
        Difference(name, left.get(name), right.get(name))
        for name in names
        if left.get(name) != right.get(name)
    ]


def work_class(programs: int | None) -> str:
    """The power-of-four bucket of a launch's programs: ``c00`` is 1 to 3, ``c01`` 4 to 15.

    None (the grid could not be evaluated) and launches of nothing are ``cxx``.
    """
    if programs is None or programs < 1:
        return UNKNOWN_CLASS
    return _bucket((programs.bit_length() - 1) // 2)


@functools.cache
def _bucket(number: int) -> str:
    return f"c{number:02d}"


def class_distance(one: str, other: str) -> float:
    """How far two work classes are apart; an unknown one is farther than any known one."""
    if one == other:
        return 0
    if UNKNOWN_CLASS in (one, other):
        return math.inf
    return abs(int(one[1:]) - int(other[1:]))


def largest_first(work_class: str) -> tuple[bool, int]:
    """Sorts work classes, the largest first and the unknown one last.

    Where one verdict is to stand for all sizes it is the largest's: a winner for much work loses
    little on less, a winner for little work may lose much on more.
    """
    if work_class == UNKNOWN_CLASS:
        return True, 0
    return False, -int(work_class[1:])
