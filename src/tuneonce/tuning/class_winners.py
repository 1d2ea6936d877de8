"""The winners of one key over one list of candidates, by work class, where nothing is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..model.key import coordinates, largest_first
from .between_classes import apart


@dataclass(frozen=True)
class ClassWinners:
    """`winners` are digests of candidates, by work class. `failed` are those of candidates that did
    not run when one of these classes was measured."""

    winners: Mapping[str, str] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()

    @property
    def differ(self) -> bool:
        """Whether it matters how large a launch is."""
        return len(set(self.winners.values())) > 1

    @property
    def differ_by_elements(self) -> bool:
        """Whether it may matter how many elements come to each program.

        Where these are the same in all classes, no launch's own number brings one of the classes
        nearer than another.
        """
        known = (coordinates(name) for name in self.winners)
        return self.differ and len({one[1] for one in known if one is not None}) > 1


def nearest_class(work_class: str, classes: Iterable[str]) -> str | None:
    """The class whose winner stands for a work class: its own, else the nearest, and of several
    that are equally near the largest. None if there is none.

    No other class and no launch before matters.
    """
    return min(classes, key=lambda one: apart(one, work_class), default=None)


def largest_class(classes: Iterable[str]) -> str | None:
    """The class whose winner stands for all sizes, where one has to."""
    return min(classes, key=lambda one: (largest_first(one), one), default=None)
