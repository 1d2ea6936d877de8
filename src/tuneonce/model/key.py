"""Keys: a list of named parts that can be printed, hashed and compared part by part.

What is *not* in a key: the module's name and path (a file that moves is the same kernel), line
numbers, comments above the kernel, the order of keyword arguments, host names, directories, the
order of candidates. How the names of records are made from a key: `model.record_names`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

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

BITS = "bits()"
"""The part of a tuning key that asks for constant bits. No argument of a kernel has such a name."""


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


class Work(NamedTuple):
    """How much a launch has to do: its `programs` under the kernel's first candidate, and the
    `elements` of the largest tensor that it is given. None is what is not known."""

    programs: int | None
    elements: int | None = None


def work_class(programs: int | None, elements: int | None = None) -> str:
    """Launches of about one size: ``c03e05`` has 64 to 255 programs, each with a share of 724 to
    2,896 of the elements of the largest tensor; ``c03`` is where these are not known.

    Both numbers are powers of four. That of the share is taken half-way between powers of two,
    which are what sizes of tensors and tiles mostly are, and so it does not change when some
    programs have less to do than the others. Launches of an unknown number of programs, or of
    none, are ``cxx``.
    """
    if programs is None or programs < 1:
        return UNKNOWN_CLASS
    bucket = (programs.bit_length() - 1) // 2
    if not elements or elements < 0:
        return _class_name(bucket)
    # log4(x) + 1/4 is a quarter of log2(2 * x * x).
    share = max(0, (2 * elements * elements // (programs * programs)).bit_length() - 1) // 4
    return _class_name(bucket, share)


@functools.cache
def _class_name(programs: int, share: int | None = None) -> str:
    return f"c{programs:02d}" if share is None else f"c{programs:02d}e{share:02d}"


_CLASS = re.compile(r"c([0-9]{2})(?:e([0-9]{2}))?")


@functools.cache
def coordinates(work_class: str) -> tuple[int, int | None] | None:
    """The powers of four of a work class: of its programs, and of the elements that each has, None
    if they are not known. None for an unknown class."""
    found = _CLASS.fullmatch(work_class)
    if found is None:
        return None
    return int(found[1]), None if found[2] is None else int(found[2])


def class_distance(one: str, other: str) -> float:
    """How far two work classes are apart, in steps to the next; an unknown one is farther than any
    known one. Where only one knows the elements, they count as one step apart."""
    if one == other:
        return 0
    ours, theirs = coordinates(one), coordinates(other)
    if ours is None or theirs is None:
        return math.inf
    programs = abs(ours[0] - theirs[0])
    if ours[1] is None or theirs[1] is None:
        return programs + (ours[1] is not theirs[1])
    return programs + abs(ours[1] - theirs[1])


def largest_first(work_class: str) -> tuple[bool, int, int]:
    """Sorts work classes, the largest first and the unknown one last.

    Where one verdict is to stand for all sizes it is the largest's: a winner for much work loses
    little on less, a winner for little work may lose much on more.
    """
    found = coordinates(work_class)
    if found is None:
        return True, 0, 0
    programs, share = found
    return False, -programs - (share or 0), -programs
