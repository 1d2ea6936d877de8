"""Keys: a list of named parts that can be printed, hashed and compared part by part.

An address in the store is made from three groups of parts. The directory names are for people, the
digests behind ``~`` and the last part are what counts::

    v1/<kernel name>~<digest of the kernel parts>/<world name>~<digest of the world parts>/<digest>/
        c03.<digest of the candidate list>.verdict.json
        c03.<digest of one candidate>.measured.json

``c03`` is the work class. A schema's first version is not in a name, a later one is, as in
``.verdict.2.json``: each version has names of its own, and leaves those of the others alone.

What is *not* in a key: the module's name and path (a file that moves is
the same kernel), line numbers, comments above the kernel, the order of keyword arguments, host
names, directories, the order of candidates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..system.forks import lazy
from .codec import Encoded, canonical, digest, render
from .records import MEASUREMENT, VARIANTS, VERDICT

Parts = tuple[tuple[str, str], ...]

FORMAT = "v1"
UNKNOWN_CLASS = "cxx"


def _ending(word: str, schema: str) -> str:
    """How the names of records of a schema end."""
    version = schema.rpartition("/")[2]
    return f".{word}.json" if version == "1" else f".{word}.{version}.json"


VERDICT_END = _ending("verdict", VERDICT)
VARIANTS_END = _ending("variants", VARIANTS)
MEASUREMENT_END = _ending("measured", MEASUREMENT)


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
        return f"{readable(self.name)}~{digest([list(p) for p in self.parts], length=12)}"


@dataclass(frozen=True)
class Candidate:
    """One live configuration: its named values, encoded. `digest` identifies it in records."""

    config: tuple[tuple[str, Encoded], ...]

    @lazy
    def digest(self) -> str:
        return digest([[name, value] for name, value in self.config], length=16)

    @lazy
    def text(self) -> str:
        return describe_config(self.config)


def describe_config(config: Iterable[tuple[str, Encoded]]) -> str:
    """``BLOCK=64 num_warps=4 num_stages=3``: what nobody has chosen is left out."""
    return " ".join(f"{name}={render(value)}" for name, value in chosen(config))


def chosen(config: Iterable[tuple[str, Encoded]]) -> Iterator[tuple[str, Encoded]]:
    """The named values that somebody has chosen: not None, not the one CTA of nearly everybody."""
    for name, value in config:
        if value != ["none"] and (name, value) != ("num_ctas", ["int", "1"]):
            yield name, value


def list_digest(candidates: Iterable[str]) -> str:
    """Identifies a list of candidates by its members, whatever their order."""
    return digest(sorted(candidates), length=12)


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
        world = f"{readable(self.world_name)}~{digest([list(p) for p in self.world], length=12)}"
        return f"{FORMAT}/{self.kernel.directory}/{world}/{self.digest}"

    def verdict_name(self, work_class: str, candidates: Iterable[str]) -> str:
        return f"{self.directory}/{verdict_file(work_class, candidates)}"

    def variants_name(self, work_class: str, candidates: Iterable[str]) -> str:
        return f"{self.directory}/{variants_file(work_class, candidates)}"

    def measurement_name(self, work_class: str, candidate: str) -> str:
        return f"{self.directory}/{measurement_file(work_class, candidate)}"


def verdict_file(work_class: str, candidates: Iterable[str]) -> str:
    """The last part of a verdict's address."""
    return f"{work_class}.{list_digest(candidates)}{VERDICT_END}"


def variants_file(work_class: str, candidates: Iterable[str]) -> str:
    """The last part of the address of what a verdict's candidates were compiled with."""
    return f"{work_class}.{list_digest(candidates)}{VARIANTS_END}"


def measurement_file(work_class: str, candidate: str) -> str:
    """The last part of the address of one candidate's measurement."""
    return f"{work_class}.{candidate}{MEASUREMENT_END}"


def journal_file(key: str, work_class: str) -> str:
    """What the journal of a tuning is called, by its key's digest (`resolution.journal`)."""
    return digest([key, work_class], length=24)


_VERDICT_FILE = re.compile(rf"(c(?:[0-9][0-9]|xx))\.[0-9a-f]{{12}}{re.escape(VERDICT_END)}")


def class_of_verdict(name: str) -> str | None:
    """The work class of the verdict that may have this name; None for what is no verdict's."""
    found = _VERDICT_FILE.fullmatch(name.rpartition("/")[2])
    return None if found is None else found[1]


def parts_digest(parts: Iterable[tuple[str, str]]) -> str:
    """The last directory of an address, from the parts that a record carries."""
    return digest([list(part) for part in parts], length=24)


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
    return f"c{(programs.bit_length() - 1) // 2:02d}"


def class_distance(one: str, other: str) -> float:
    """How far two work classes are apart; an unknown one is farther than any known one."""
    if one == other:
        return 0
    if UNKNOWN_CLASS in (one, other):
        return math.inf
    return abs(int(one[1:]) - int(other[1:]))


# 60 keeps every part of an address far below the 255 bytes that file systems allow.
def readable(text: str, *, limit: int = 60) -> str:
    """`text` as a path part; not unique, the digest beside it is."""
    return (re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "x")[:limit]
