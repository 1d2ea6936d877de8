"""Measures of the size of a launch, and what a winner of another size of a class costs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from statistics import fmean
from typing import Any

from tuneonce.model.key import Work, work_class

from .timed import Timed

# The width of a class, and the number of octaves in it.
WIDTHS = {2: 1, 4: 2, 16: 4}


def programs(work: Work, octaves: int) -> int:
    return _bucket(work.programs, octaves)


def elements(work: Work, octaves: int) -> int:
    return _bucket(work.elements, octaves)


def share(work: Work, octaves: int) -> int:
    """Of the elements that come to each program: half-way between powers of two, whatever the
    width is, as `work_class` takes it."""
    each = 2 * (work.elements or 1) ** 2 // (work.programs or 1) ** 2
    return max(0, each.bit_length() - 1) // (2 * octaves)


def as_keyed(work: Work, octaves: int) -> Hashable:
    """Programs, and elements of each; with the width of four, the package's own classes."""
    if octaves == WIDTHS[4]:
        return work_class(*work)
    return programs(work, octaves), share(work, octaves)


MEASURES: dict[str, Callable[..., Hashable]] = {
    "programs": programs,
    "elements": elements,
    "programs and elements": lambda work, octaves: (
        programs(work, octaves),
        elements(work, octaves),
    ),
    "programs and elements of each": as_keyed,
}


def _bucket(number: int | None, octaves: int) -> int:
    return (max(1, number or 1).bit_length() - 1) // octaves


def classes(key: Timed, class_of: Callable[[Work], Hashable]) -> list[list[str]]:
    """The sizes of a key, class by class."""
    found: dict[Hashable, list[str]] = {}
    for size in key.ms:
        found.setdefault(class_of(key.work[size]), []).append(size)
    return list(found.values())


def regret(keys: Sequence[Timed], class_of: Callable[[Work], Hashable]) -> dict[str, Any]:
    """What classes by a measure cost, of an operator's calls: all its kernels at a size together.

    Every kernel runs the winner of one size of the class. ``mean`` is over all sizes of the class,
    its own among them, as if each were as likely to have been met first; ``worst`` is the size that
    is the worst to have been met first, of each kernel. Both are means over operators and sizes,
    ``worst_call`` is the most.
    """
    calls: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    number = 0
    most: dict[str, Any] = {"regret": 0.0}
    for key in keys:
        for sizes in classes(key, class_of):
            number += 1
            for size in (size for size in sizes if size in key.judged):
                each = {other: key.slower(size, key.best[other]) for other in sizes}
                worst = max(each, key=each.__getitem__)
                least = key.least(size)
                calls.setdefault((key.operator, size), []).append(
                    (least, least * fmean(each.values()), least * each[worst])
                )
                if each[worst] > most["regret"]:
                    most = {
                        "regret": each[worst],
                        "kernel": key.kernel,
                        "size": size,
                        "winner_of": worst,
                    }
    found: dict[str, Any] = {"classes": number, "launches": sum(len(key.judged) for key in keys)}
    if not calls:
        return found
    sums = [[sum(column) for column in zip(*rows, strict=True)] for rows in calls.values()]
    means, worsts = ([one[i] / one[0] for one in sums] for i in (1, 2))
    return {
        **found,
        "mean": fmean(means),
        "worst": fmean(worsts),
        "worst_call": max(worsts),
        "worst_kernel": most,
    }
