"""What measured classes say of one that is not measured yet: what cannot win there, and what runs.

Each figure is of single kernels, every size of every key counting once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any

from tuneonce.model.key import work_class

from .figures import percentile
from .timed import Timed, tokens

# Farther away, in powers of four of the elements, no size is a neighbour. Arbitrary: with the
# sizes that are measured, it leaves the next one.
REACH = 1.3

Pair = tuple[str, str]


def others(key: Timed, size: str) -> tuple[list[str], list[str]]:
    """The sizes of other classes with fewer and with more elements, the nearest first."""
    there = [other for other in key.smaller_first() if not _same_class(key, size, other)]
    smaller = [other for other in there if key.steps(other, size) > 0]
    larger = [other for other in there if key.steps(size, other) > 0]
    return smaller[::-1], larger


def _same_class(key: Timed, one: str, other: str) -> bool:
    return work_class(*key.work[one]) == work_class(*key.work[other])


# -- what cannot win ----------------------------------------------------------------------------


def nearest_one(key: Timed, size: str) -> list[str]:
    found = [other for side in others(key, size) for other in _within_reach(key, size, side)]
    return sorted(found, key=lambda other: abs(key.steps(size, other)))[:1]


def nearest_two(key: Timed, size: str) -> list[str]:
    """The next smaller and the next larger, or nothing."""
    smaller, larger = (_within_reach(key, size, side) for side in others(key, size))
    return [smaller[0], larger[0]] if smaller and larger else []


def _within_reach(key: Timed, size: str, there: Sequence[str]) -> list[str]:
    return [other for other in there if abs(key.steps(size, other)) <= REACH]


NEIGHBOURS = {"one": nearest_one, "both": nearest_two}


def ruled_out(
    keys: Sequence[Timed], cut: float, neighbours: Callable[[Timed, str], list[str]]
) -> dict[str, Any]:
    """Candidates are left out that take over `cut` times the fastest's time at all neighbours."""
    kept = candidates = 0
    lost: list[float] = []
    for key in keys:
        for size, ms in key.ms.items():
            near = neighbours(key, size) if size in key.judged else []
            if not near:
                continue
            left = [name for name in ms if any(key.slower(r, name) <= cut - 1 for r in near)]
            kept += len(left)
            candidates += len(ms)
            lost.append(min(key.slower(size, name) for name in left))
    return {"kept": kept / candidates if candidates else None, **summary(lost)}


# -- what runs meanwhile ------------------------------------------------------------------------


def nearest(key: Timed, size: str, pair: Pair) -> str:
    smaller, larger = pair
    nearer = larger if key.steps(size, larger) <= key.steps(smaller, size) else smaller
    return key.best[nearer]


def larger_one(key: Timed, size: str, pair: Pair) -> str:
    return key.best[pair[1]]


def interpolated(key: Timed, size: str, pair: Pair) -> str:
    """The fastest by times between those of both, linear in logarithms of time and elements."""
    return _interpolated(key, size, pair, key.ms[size])


def of_two_winners(key: Timed, size: str, pair: Pair) -> str:
    """The same, of the winners of both alone."""
    return _interpolated(key, size, pair, [key.best[one] for one in pair])


def least_lost(key: Timed, size: str, pair: Pair) -> str:
    """What loses least at that of both where it loses more."""
    return min(key.ms[size], key=lambda name: max(key.slower(one, name) for one in pair))


def _interpolated(key: Timed, size: str, pair: Pair, among: Iterable[str]) -> str:
    smaller, larger = pair
    way = key.steps(smaller, size) / key.steps(smaller, larger)

    def expected(name: str) -> float:
        at = [math.log(key.ms[one][name]) for one in pair]
        return (1 - way) * at[0] + way * at[1]

    return min(among, key=expected)


RULES: dict[str, Callable[[Timed, str, Pair], str]] = {
    "nearest": nearest,
    "larger": larger_one,
    "interpolated": interpolated,
    "interpolated, of two winners": of_two_winners,
    "least lost": least_lost,
}


def between(keys: Sequence[Timed], least: int) -> dict[str, Any]:
    """Of classes between two that are measured, what each rule loses; from so many tokens on.

    ``differ`` are those where the two have other winners.
    """
    met = list(_pairs(keys, least))
    differ = [one for one in met if len({one[0].best[size] for size in one[2]}) > 1]
    return {
        name: {"all": _lost(rule, met), "differ": _lost(rule, differ)}
        for name, rule in RULES.items()
    }


def _pairs(keys: Sequence[Timed], least: int) -> Iterator[tuple[Timed, str, Pair]]:
    for whole in keys:
        key = whole.only(size for size in whole.ms if tokens(size) >= least)
        for size in (size for size in key.ms if size in key.judged):
            smaller, larger = others(key, size)
            if smaller and larger:
                yield key, size, (smaller[0], larger[0])


def _lost(rule: Callable[..., str], met: Sequence[tuple[Timed, str, Pair]]) -> dict[str, Any]:
    return summary([key.slower(size, rule(key, size, pair)) for key, size, pair in met])


def summary(lost: Sequence[float]) -> dict[str, Any]:
    if not lost:
        return {"launches": 0}
    return {
        "launches": len(lost),
        "mean": fmean(lost),
        "p95": percentile(lost, 95),
        "max": max(lost),
    }
