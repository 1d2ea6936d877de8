"""What the measured work classes of a key let expect of one that is not measured.

A class lies *between* two others if it has neither less nor more than both of anything: programs,
elements that come to each, elements in all. Between the nearest two the logarithm of a candidate's
time is taken for a straight line. How far off this may be they say themselves: where they differ on
which candidates are fast, the class between may be like neither. So half of their difference is the
error.

Where it lies between none, the nearest one's times stand for it, with the error of as many steps
from one class to the next. Who is far behind in all adjacent classes that have measured it is
*ruled out* then. That is no measurement and no failure: nothing is recorded of it, and whoever
finds the expectation wrong tries it after all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Generic

from ..model.key import class_distance, coordinates, largest_first
from .race import RULES
from .relative import C, complete, relative

# So many times slower than the best of an adjacent class, and ruled out. On an H200 that leaves
# 72 % of the candidates, and the best of these is 0.1 % slower than the best of all in the mean,
# 13 % at most (decision 0045).
BEHIND = 1.5
# The error counts those that are no farther behind than this in one of the two classes: the others
# are in nobody's way.
FRONT = 1.3
# The least error, as a standard deviation of log times. Arbitrary: a median of 1 % there, between
# two sizes of one class, has a tail.
LEAST_ERROR = 0.04
# The error of times that are those of another class. There it is 0.10 from one class to the next
# for launches of 20 µs and more, and 0.18 for all. Nearer to the larger one: a step has a tail, and
# who is missed in one class is missed in those beside it.
STEP_ERROR = 0.16

Classes = Mapping[str, Mapping[C, float]]
"""Milliseconds by candidate, by work class. What is no time is passed over."""


@dataclass(frozen=True)
class Between(Generic[C]):
    """What is expected at a class.

    `times` are relative to each other, of all that any class has measured. `error` is their
    standard deviation, of the logarithm. `on_both_sides`: whether the class lies between others;
    else candidates may be `ruled_out`.
    """

    times: Mapping[C, float] = field(default_factory=dict)
    error: float = STEP_ERROR
    on_both_sides: bool = False
    ruled_out: frozenset[C] = frozenset()


def between(work_class: str, classes: Classes[C]) -> Between[C]:
    """What the other classes let expect of this one."""
    known = _usable(work_class, classes)
    if not known:
        return Between()
    order = sorted(known, key=lambda one: apart(one, work_class))
    sides = _sides(work_class, known)
    error = None
    times: Mapping[C, float] = {}
    if sides is not None:
        times, error = _on_the_line(work_class, known, sides)
    for one in order:
        times = complete(times, known[one])
    if error is not None:
        return Between(times, error, on_both_sides=True)
    # Steps that have nothing to do with each other.
    error = STEP_ERROR * math.sqrt(class_distance(order[0], work_class))
    return Between(times, error, ruled_out=_ruled_out(work_class, known) & times.keys())


def likeliest(work_class: str, classes: Classes[C], winners: Mapping[str, C]) -> str | None:
    """The class whose winner is expected to be the fastest at this one; None: nothing tells.

    Only winners count, by their class, and of these what was measured on both sides. That of the
    nearest class stays unless another is faster by more than a tie.
    """
    known = _usable(work_class, classes)
    sides = _sides(work_class, known)
    if sides is None:
        return None
    times, _ = _on_the_line(work_class, known, sides)
    order = sorted(winners, key=lambda one: apart(one, work_class))
    order = [one for one in order if winners[one] in times]
    if not order:
        return None
    least = min(times[winners[one]] for one in order)
    return next(one for one in order if times[winners[one]] <= least * (1 + RULES.tie))


def _usable(work_class: str, classes: Classes[C]) -> dict[str, dict[C, float]]:
    """Relative times of the other classes that say anything: that compare two candidates."""
    found = {
        one: relative(times)
        for one, times in classes.items()
        if one != work_class and math.isfinite(class_distance(one, work_class))
    }
    return {one: times for one, times in found.items() if len(times) > 1}


def _sides(work_class: str, known: Iterable[str]) -> tuple[str, str] | None:
    """The nearest two classes that it lies between."""
    order = sorted(known, key=lambda one: apart(one, work_class))
    pairs = [pair for pair in combinations(order, 2) if _is_between(work_class, *pair)]
    return min(pairs, key=lambda pair: class_distance(*pair), default=None)


def _on_the_line(
    work_class: str, known: Mapping[str, Mapping[C, float]], sides: tuple[str, str]
) -> tuple[dict[C, float], float | None]:
    """The times between two classes of what both have measured, and their error."""
    here, there = (known[side] for side in sides)
    to_here, to_there = (class_distance(side, work_class) for side in sides)
    share = to_here / (to_here + to_there)
    both = here.keys() & there.keys()
    times = {c: here[c] ** (1 - share) * there[c] ** share for c in both}
    front = [c for c in both if min(here[c], there[c]) <= FRONT]
    if len(both) < 2 or not front:
        return times, None
    halves = (math.log(here[c] / there[c]) / 2 for c in front)
    return times, max(LEAST_ERROR, math.sqrt(fmean(half**2 for half in halves)))


def _ruled_out(work_class: str, known: Mapping[str, Mapping[C, float]]) -> frozenset[C]:
    adjacent = [times for one, times in known.items() if _is_adjacent(one, work_class)]
    return frozenset(
        c
        for c in {c for times in adjacent for c in times}
        if all(times[c] > BEHIND for times in adjacent if c in times)
    )


def apart(one: str, work_class: str) -> tuple[object, ...]:
    """Sorts classes by how near they are, the larger first of two that are equally near."""
    return class_distance(one, work_class), largest_first(one), one


def _is_between(work_class: str, one: str, other: str) -> bool:
    places = [_sizes(name) for name in (work_class, one, other)]
    if len({len(place) for place in places}) > 1:  # of one it is not known what it is of another
        return False
    return all(min(a, b) <= size <= max(a, b) for size, a, b in zip(*places, strict=True))


def _is_adjacent(one: str, other: str) -> bool:
    """Whether none of these is more than four times as many."""
    here, there = _sizes(one), _sizes(other)
    if one == other or len(here) != len(there):
        return False
    return all(abs(a - b) <= 1 for a, b in zip(here, there, strict=True))


def _sizes(work_class: str) -> tuple[int, ...]:
    """The powers of four of the programs, the elements that each has, and all elements, as far as
    they are known."""
    found = coordinates(work_class)
    if found is None:
        return ()
    programs, share = found
    return (programs,) if share is None else (programs, share, programs + share)
