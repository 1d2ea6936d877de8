"""Where two stores, or two worlds, do not agree about a winner, and what that would cost.

A key is compared at one work class and over one list of candidates, as launches look for it. Two
stores are compared world by world; with a world for each side, keys that are equal in all else.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from ..errors import UsageError
from ..model.record_names import ROOT, folder_digest, list_digest, parts_digest, readable_name
from ..model.records import Verdict
from ..model.wording import natural, tuning, tuning_text, world_text
from ..model.wording import world as facts_of
from ..store.base import Store
from .listing import candidate_text, median
from .record_reader import Folder, Naming, Problem, folders, pattern_prefix
from .upkeep import is_world, misfit

SCHEMA = "tuneonce.diff/1"


@dataclass(frozen=True)
class Place:
    """One side of a comparison: a store, and a glob on its worlds as in `upkeep.Selection`."""

    store: Store
    world: str | None = None


class Half(msgspec.Struct, frozen=True):
    """What one side says of a key: its winner, and how the other one's winner did there.

    Times are medians in milliseconds. `loss` is what this side would lose by the other's winner,
    the share of its own winner's time: 0.02 is 2 % slower. It is below zero where the other's was
    faster and the two tied. None where either was not measured, or has failed: then `failed` says
    how.
    """

    world: str
    winner: str
    winner_ms: float | None
    others_ms: float | None
    loss: float | None
    failed: str | None


class Difference(msgspec.Struct, frozen=True):
    """A key that both sides know, and run with different winners."""

    kernel: str
    key: dict[str, str]
    key_text: str
    work_class: str
    left: Half
    right: Half


class Losses(msgspec.Struct, frozen=True):
    """What one side would lose over all `Difference`s where it is known, and of how many it is."""

    known: int
    not_measured: int
    median: float | None
    worst: float | None


class Comparison(msgspec.Struct, frozen=True):
    """Two sides. `same` counts keys with one winner, `only_*` those that the other lacks."""

    schema: str
    left: str
    right: str
    worlds: tuple[str, str] | None
    same: int
    only_left: int
    only_right: int
    left_loses: Losses
    right_loses: Losses
    different: list[Difference]
    problems: list[Problem]

    @property
    def is_same(self) -> bool:
        """Whether both know the same keys, with the same winners."""
        return not (self.different or self.only_left or self.only_right)


# What makes verdicts of two sides comparable: world, key, work class and list of candidates.
_Identity = tuple[str, str, str, str]


@dataclass
class _Kernel:
    """What one side says of one kernel, and the worlds of it that its glob does not mean."""

    verdicts: list[tuple[_Identity, Verdict]] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


@dataclass
class _Side:
    """One side while it is read: its kernels, the worlds met so far, and those passed over."""

    place: Place
    kernels: set[str]
    worlds: dict[str, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def of(cls, place: Place, pattern: str | None) -> _Side:
        prefix = pattern_prefix(pattern)
        found = (name for name in place.store.children(prefix) if name.endswith("/"))
        return cls(place, {name.split("/")[1] for name in found})

    def read(self, kernel: str, naming: Naming, *, across: bool) -> _Kernel:
        """What it says of one kernel; `across`: without regard to the world."""
        read = _Kernel()
        if kernel not in self.kernels:
            return read
        for folder in folders(self.place.store, f"{ROOT}{kernel}"):
            if folder.kernel != kernel:  # another one whose name begins with this one's
                continue
            naming.see(folder)
            read.problems += [broken.problem for broken in folder.broken]
            for held in folder.verdicts:
                problem = misfit(folder, held)
                if problem is not None:
                    read.problems.append(problem)
                    continue
                verdict = held.record
                facts, glob = facts_of(verdict.key), self.place.world
                if glob is not None and not is_world(glob, facts, readable_name(folder.world)):
                    read.others.add(world_text(facts))
                    continue
                read.verdicts.append((_identity(folder, verdict, across=across), verdict))
        return read

    def add(self, read: _Kernel) -> dict[_Identity, Verdict]:
        """Take up what was read of a kernel that is meant."""
        for _, verdict in read.verdicts:
            facts = facts_of(verdict.key)
            self.worlds[folder_digest(facts.items())] = world_text(facts)
        self.others |= read.others
        self.problems += read.problems
        return dict(read.verdicts)

    def check(self, *, across: bool) -> None:
        """Raises UsageError if its glob means no world or, `across`, more than one."""
        if self.place.world is None:
            return
        asked, where = f"--world {self.place.world}", self.place.store.describe().location
        if not self.worlds and self.others:
            raise UsageError(f"{asked} is none of {where}, which has {_listed(self.others)}")
        if across and len(self.worlds) > 1:
            names = [f"{text} (~{digest})" for digest, text in self.worlds.items()]
            raise UsageError(f"{asked} means several of {where}: {_listed(names)}")


def _identity(folder: Folder, verdict: Verdict, *, across: bool) -> _Identity:
    key, world = folder.key, folder.world
    if across:
        key = parts_digest(part for part in verdict.key if not part[0].startswith("world."))
        world = ""
    return world, key, verdict.work_class, list_digest(verdict.candidates)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(sorted(texts))


def differ(
    left: Place, right: Place, *, across: bool = False, pattern: str | None = None
) -> Comparison:
    """Compare the verdicts of two sides, kernel by kernel: those that `pattern` means.

    `across`: one world with another, of which both sides must name one. Raises StoreError, and
    UsageError for a glob that means no world, or several of these.
    """
    one, other = _Side.of(left, pattern), _Side.of(right, pattern)
    different: list[Difference] = []
    same = only_left = only_right = 0
    for kernel in sorted(one.kernels | other.kernels):
        naming = Naming(kernel)
        read = [side.read(kernel, naming, across=across) for side in (one, other)]
        if not naming.is_meant(pattern):
            continue
        ours, theirs = one.add(read[0]), other.add(read[1])
        only_left += len(ours.keys() - theirs.keys())
        only_right += len(theirs.keys() - ours.keys())
        for identity in ours.keys() & theirs.keys():
            if ours[identity].winner == theirs[identity].winner:
                same += 1
            else:
                different.append(_difference(naming.label, ours[identity], theirs[identity]))
    for side in (one, other):
        side.check(across=across)
    return Comparison(
        schema=SCHEMA,
        left=left.store.describe().location,
        right=right.store.describe().location,
        worlds=(_listed(one.worlds.values()), _listed(other.worlds.values())) if across else None,
        same=same,
        only_left=only_left,
        only_right=only_right,
        left_loses=_losses([one.left for one in different]),
        right_loses=_losses([one.right for one in different]),
        different=sorted(different, key=_order),
        problems=[*one.problems, *other.problems],
    )


def _difference(kernel: str, left: Verdict, right: Verdict) -> Difference:
    key = tuning(left.key)
    return Difference(
        kernel=kernel,
        key=key,
        key_text=tuning_text(key),
        work_class=left.work_class,
        left=_half(left, right),
        right=_half(right, left),
    )


def _half(ours: Verdict, theirs: Verdict) -> Half:
    measured = {m.candidate: m for m in ours.measurements}
    winner, others = measured.get(ours.winner), measured.get(theirs.winner)
    winner_ms, others_ms = median(winner), median(others)
    return Half(
        world=world_text(facts_of(ours.key)),
        winner=candidate_text(ours.winner, winner),
        winner_ms=winner_ms,
        others_ms=others_ms,
        loss=others_ms / winner_ms - 1 if winner_ms and others_ms else None,
        failed=None if others is None else others.failed,
    )


def _losses(halves: list[Half]) -> Losses:
    known = [half.loss for half in halves if half.loss is not None]
    return Losses(
        known=len(known),
        not_measured=len(halves) - len(known),
        median=statistics.median(known) if known else None,
        worst=max(known, default=None),
    )


def _order(one: Difference) -> tuple[object, ...]:
    return one.kernel, one.left.world, natural(one.key_text), one.work_class, one.left.winner
