"""Lists of candidates of which one is wrong, and what was concluded about it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .subjects import SUBJECTS, Blocks, Subject


@dataclass(frozen=True)
class Candidate:
    blocks: Blocks
    fault: str = ""

    @property
    def constants(self) -> dict[str, Any]:
        return {**self.blocks, "FAULT": self.fault}


@dataclass(frozen=True)
class Case:
    """`place` is where in the list the wrong one stands; the first is the author's."""

    subject: Subject
    dtype: str
    fault: str
    candidates: tuple[Candidate, ...]
    place: int

    @property
    def name(self) -> str:
        return f"{self.subject.name}-{self.dtype}-{self.fault}"


def cases(size: str, seed: int = 0, *, first: bool = False) -> Iterator[Case]:
    """One for each kernel, type and fault; which honest candidate it is the likeness of is drawn.

    That one stays in the list, too. The wrong one is the first of the list, or never.
    """
    for subject in SUBJECTS:
        for dtype in subject.dtypes:
            for fault in subject.faults:
                drawn = random.Random(f"{seed} {subject.name} {dtype} {fault}")
                yield case(subject, dtype, fault, subject.blocks[size], drawn, first)


def case(
    subject: Subject,
    dtype: str,
    fault: str,
    blocks: Sequence[Blocks],
    drawn: random.Random,
    first: bool,
) -> Case:
    listed = [Candidate(each) for each in blocks]
    place = 0 if first else drawn.randrange(1, len(listed) + 1)
    listed.insert(place, Candidate(drawn.choice(blocks), fault))
    return Case(subject, dtype, fault, tuple(listed), place)


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    `distance` is that of the wrong one, and `honest` the largest of the others'; beyond `far` they
    are far apart. `equal`: the wrong one's bits were those of an honest candidate. `left_out`: why
    not everybody was looked at.
    """

    caught: bool
    accused: int
    disagrees: bool
    distance: float | None
    honest: float
    far: float | None
    equal: bool
    unsteady: bool
    left_out: str | None = None

    @property
    def why_missed(self) -> str | None:
        """In a word; None if it was not.

        ``near``: what is written is no farther apart than honest candidates may be. ``equal``: the
        fault changes nothing at this size. ``disagrees``: nobody is accused.
        """
        if self.caught:
            return None
        if self.distance is None:
            return self.left_out or "not_looked_at"
        if self.equal:
            return "equal"
        if self.far is not None and self.distance <= self.far:
            return "near"
        return "disagrees" if self.disagrees else "unknown"
