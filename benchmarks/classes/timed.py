"""Times of every candidate by size, as ``work_classes.py --times`` has measured them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from tuneonce.model.key import Work

from .figures import lengths


class Left(NamedTuple):
    """What a document has and is not used: sizes at which not every candidate was measured, and
    candidates that failed at one of the others."""

    sizes: int
    candidates: int


@dataclass(frozen=True)
class Timed:
    """One key of a kernel of an operator: milliseconds by size and candidate."""

    operator: str
    kernel: str
    work: Mapping[str, Work]
    ms: Mapping[str, Mapping[str, float]]
    # By size, what says that another operator makes the same launch.
    same: Mapping[str, str]
    # The sizes at which winners are judged; they may have won at any.
    judged: frozenset[str]

    @cached_property
    def best(self) -> dict[str, str]:
        """By size, the fastest candidate; of equals, the author's first."""
        return {size: min(ms, key=ms.__getitem__) for size, ms in self.ms.items()}

    def least(self, size: str) -> float:
        return self.ms[size][self.best[size]]

    def slower(self, size: str, candidate: str) -> float:
        """How much longer a candidate takes than the fastest at a size: 0.1 is 10 %."""
        return self.ms[size][candidate] / self.least(size) - 1

    def smaller_first(self) -> list[str]:
        return sorted(self.ms, key=self.elements)

    def elements(self, size: str) -> int:
        return max(1, self.work[size].elements or 0)

    def steps(self, size: str, other: str) -> float:
        """From one size to the other, in powers of four of their elements."""
        return math.log(self.elements(other) / self.elements(size), 4)

    def only(self, sizes: Iterable[str]) -> Timed:
        """The same key, as if it had been measured at these sizes alone."""
        wanted = set(sizes)
        kept = [size for size in self.ms if size in wanted]
        return replace(
            self,
            work={size: self.work[size] for size in kept},
            ms={size: self.ms[size] for size in kept},
            same={size: self.same[size] for size in kept},
            judged=self.judged.intersection(kept),
        )


def tokens(size: str) -> int:
    return sum(lengths(size))


def read(document: Mapping[str, Any]) -> tuple[list[Timed], Left]:
    found: list[Timed] = []
    sizes = failed = 0
    for operator, entry in document["operators"].items():
        kernels = entry["arms"].get("times", {}).get("kernels", {})
        for kernel, keys in kernels.items():
            for key, of in keys.items():
                timed, left = _key(operator, kernel, key, of)
                sizes += left.sizes
                failed += left.candidates
                if timed.ms:
                    found.append(timed)
    return found, Left(sizes, failed)


def judged_from(keys: Iterable[Timed], ms: float) -> list[Timed]:
    """With winners of all sizes, judged at those whose fastest candidate takes this long."""
    return [replace(one, judged=frozenset(_from(one, ms))) for one in keys]


def known_from(keys: Iterable[Timed], ms: float) -> list[Timed]:
    """As if shorter launches had not been measured at all."""
    kept = [one.only(_from(one, ms)) for one in keys]
    return [one for one in kept if one.ms]


def _from(key: Timed, ms: float) -> list[str]:
    return [size for size in key.ms if key.least(size) >= ms]


def _key(operator: str, kernel: str, key: str, of: Mapping[str, Any]) -> tuple[Timed, Left]:
    launches, candidates = of["launches"], of["candidates"]
    # A run that was cut off has begun with a size and not ended.
    whole = [size for size in launches if all(size in ms for ms in candidates.values())]
    run = {name for name, ms in candidates.items() if all(ms[size] for size in whole)}
    timed = Timed(
        operator,
        kernel,
        {size: Work(launches[size]["programs"], launches[size]["largest_numel"]) for size in whole},
        {s: {name: ms[s] for name, ms in candidates.items() if name in run} for s in whole if run},
        {size: json.dumps([kernel, key, launches[size]], sort_keys=True) for size in whole},
        frozenset(whole),
    )
    return timed, Left(len(launches) - len(whole), len(candidates) - len(run))
