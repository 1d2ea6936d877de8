"""Freezes the winners of a store, and compares a store with what was frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from ..model.frozen import FrozenSet, Winner
from ..model.key import Parts
from ..model.record_names import list_digest, named_folder, readable_name
from ..model.records import Verdict
from ..model.wording import tuning, tuning_text, world, world_text
from ..store.base import Store
from .listing import candidate_text
from .record_reader import Folder, Held, Problem, kernels_of, nothing_known
from .upkeep import is_world, misfit

# -- `tuneonce freeze` ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Freezing:
    """What was frozen. `problems` are records that could not be read, and are not in it."""

    frozen: FrozenSet
    problems: list[Problem]
    store: str
    location: str


def freeze(store: Store, *, pattern: str | None = None, world: str | None = None) -> Freezing:
    """The winners of a store: of the kernels that `pattern` means, in the worlds of the glob.

    Both as in `inspect.upkeep.Selection`. Raises StoreError.
    """
    winners: list[Winner] = []
    problems: list[Problem] = []

    def found_in(folder: Folder, parts: Parts | None) -> Iterator[Winner | Problem]:
        return _found(folder, world)

    for kernel in kernels_of(store, pattern, nothing_known, found_in):
        winners += [one for one in kernel.found if isinstance(one, Winner)]
        problems += [one for one in kernel.found if isinstance(one, Problem)]
        problems += kernel.problems
    info = store.describe()
    return Freezing(FrozenSet(winners), problems, info.url, info.location)


def _found(folder: Folder, glob: str | None) -> Iterator[Winner | Problem]:
    for held in folder.verdicts:
        facts = world(held.record.key)
        if glob is not None and not is_world(glob, facts, readable_name(folder.world)):
            continue
        problem = misfit(folder, held) or _unreachable(folder, held)
        yield _winner(folder.key, held.record) if problem is None else problem


def _unreachable(folder: Folder, held: Held[Verdict]) -> Problem | None:
    """A launch looks for its key in folders of one name only, the readable part included."""
    key = held.record.key
    facts = world(key)
    product = facts.get("product", "unknown")
    name = f"{facts.get('backend') if product == 'unknown' else product}-{facts.get('arch')}"
    kernel = named_folder(
        dict(key).get("kernel.name", ""), [part for part in key if part[0].startswith("kernel.")]
    )
    if (folder.kernel, folder.world) == (kernel, named_folder(name, facts.items())):
        return None
    return Problem(held.name, "misplaced", "no launch looks for it there")


def _winner(key: str, verdict: Verdict) -> Winner:
    measured = {m.candidate: m for m in verdict.measurements}
    return Winner(
        kernel=dict(verdict.key).get("kernel.name", "?"),
        world=world_text(world(verdict.key)),
        tuning=tuning_text(tuning(verdict.key)),
        key=key,
        work_class=verdict.work_class,
        candidates=list_digest(verdict.candidates),
        winner=verdict.winner,
        text=candidate_text(verdict.winner, measured.get(verdict.winner)),
    )


# -- `tuneonce verify --frozen` ------------------------------------------------------------------


class Other(msgspec.Struct, frozen=True):
    """A frozen winner that the store does not say. `stored` is what it says, None for nothing."""

    kernel: str
    world: str
    tuning: str
    work_class: str
    frozen: str
    stored: str | None


class Comparison(msgspec.Struct, frozen=True):
    """A store beside a frozen set. `beside` counts what only the store has a winner of."""

    file: str
    sha256: str
    winners: int
    equal: int
    missing: list[Other]
    different: list[Other]
    beside: int

    @property
    def well(self) -> bool:
        """Whether the store says all that is frozen."""
        return not self.missing and not self.different


def compare(store: Store, frozen: FrozenSet, *, file: str) -> Comparison:
    """What of `frozen`, which was read from `file`, the store does not say. Raises StoreError."""
    stored = {one.place: one for one in freeze(store).frozen.winners}
    missing: list[Other] = []
    different: list[Other] = []
    for one in frozen.winners:
        ours = stored.pop(one.place, None)
        if ours is None:
            missing.append(_other(one, None))
        elif ours.winner != one.winner:
            different.append(_other(one, ours.text))
    return Comparison(
        file=file,
        sha256=frozen.sha256,
        winners=len(frozen.winners),
        equal=len(frozen.winners) - len(missing) - len(different),
        missing=missing,
        different=different,
        beside=len(stored),
    )


def _other(one: Winner, stored: str | None) -> Other:
    return Other(one.kernel, one.world, one.tuning, one.work_class, one.text, stored)
