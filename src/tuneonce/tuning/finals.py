"""Which of the finalists of a race wins, from samples that were taken side by side.

The finalists are launched in passes, each one once a pass. A pass lasts a few milliseconds, so a
change of the GPU's clocks hits all launches of a pass: two candidates are compared by the
differences within passes, never by medians taken at different times.

The winner is the first candidate of the author's list that is within the tie of the fastest, or
before all others one that has served so far.
`Finals.judge` drops the candidates that are proven to be outside of the tie, and those that cannot
change the answer any more, and says when the answer is certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, median

# How many of the fastest a candidate is compared with. Arbitrary: without noise one would do.
RIVALS = 4

# The spread of fewer passes than `FEW` is not trusted alone: the usual one of all pairs is taken
# where that is larger, and at least `USUAL`, which two kernels on a quiet GPU show.
FEW = 20
USUAL = 0.02
# An interval is wider the fewer passes it comes from, by 1 + `CARE` / passes: from four, twice.
CARE = 4


@dataclass(frozen=True)
class Difference:
    """How much slower one candidate is than another, as a share of the other's time.

    `spread` is the standard deviation of one pass, `passes` how many there were.
    """

    mean: float
    spread: float
    passes: int


def difference(one: Sequence[float], other: Sequence[float]) -> Difference:
    """The mean difference within passes. Extra samples of the longer sequence are left out.

    Differences beyond three standard deviations are pulled in, not cut off. On a timer that
    counts in steps of half a microsecond a short kernel has two or three different times, all of
    its information is in how often each occurs, and a median or a trimmed mean would lose it.
    """
    passes = min(len(one), len(other))
    base = median(other[:passes])
    found = sorted(a - b for a, b in zip(one, other, strict=False))
    core = _core(found)
    if passes < FEW:  # too few for a standard deviation: the ends are pulled in
        low, high = core[0], core[-1]
    else:
        middle = fmean(core)
        # A tenth less at both ends leaves 0.66 of a normal distribution's standard deviation.
        width = 3 * max(1.51 * _deviation(core, middle), _step(found), 0.003 * base)
        low, high = middle - width, middle + width
    clipped = [min(max(d, low), high) for d in found]
    mean = fmean(clipped)
    spread = _deviation(clipped, mean) * sqrt(passes / max(passes - 1, 1))
    return Difference(mean / base, spread / base, passes)


def centre(samples: Sequence[float]) -> float:
    """The mean of samples without the tenth at both ends."""
    return fmean(_core(sorted(samples)))


def _core(ordered: Sequence[float]) -> Sequence[float]:
    """The values without a tenth at both ends; of three or more, at least one at each end."""
    cut = max(len(ordered) // 10, 1) if len(ordered) > 2 else 0
    return ordered[cut : len(ordered) - cut]


def _deviation(values: Sequence[float], mean: float) -> float:
    return sqrt(fmean([(value - mean) ** 2 for value in values]))


def _step(differences: Sequence[float]) -> float:
    """The step of a coarse timer; next to nothing on a fine one. Steps are whole nanoseconds."""
    seen = sorted({round(ms, 6) for ms in differences})
    return min((b - a for a, b in pairwise(seen)), default=0.0)


class Finals:
    """The samples of the finalists, and what is still open about them.

    `contenders` are the candidates that may win, in the order of the list, but for `before`, which
    is the first if it is among them. `rivals` are launched beside them, because a contender may be
    too slow against one of these. `fallback` wins if no contender does.
    """

    def __init__(
        self,
        finalists: Iterable[int],
        *,
        tie: float,
        sure: float,
        fine: float,
        before: int | None = None,
    ) -> None:
        self._tie, self._sure, self._fine = tie, sure, fine
        self.contenders = sorted(finalists, key=lambda c: (c != before, c))
        self.rivals = set(self.contenders)
        self.fallback: int | None = None
        self.times: dict[int, list[float]] = {c: [] for c in self.contenders}

    @property
    def live(self) -> list[int]:
        """The candidates that the next pass launches."""
        return sorted(self.rivals.union(self.contenders))

    @property
    def passes(self) -> int:
        return max((len(self.times[c]) for c in self.live), default=0)

    def add(self, samples: Mapping[int, float]) -> None:
        """One pass: a time of each live candidate, in milliseconds."""
        for candidate, ms in samples.items():
            self.times[candidate].append(ms)

    def remove(self, candidate: int) -> None:
        """Leave out a candidate, which failed or is far behind."""
        self.contenders = [c for c in self.contenders if c != candidate]
        self.rivals.discard(candidate)
        if self.fallback == candidate:
            self.fallback = None

    def judge(self) -> bool:
        """Drop the candidates that do not matter any more. True when the winner is certain."""
        table = self._table()
        few = self.passes < FEW
        usual = median([d.spread for row in table.values() for d in row.values()] or [0.0])

        def error(d: Difference) -> float:
            spread = max(d.spread, usual, USUAL) if few else d.spread
            return spread * (1 + CARE / d.passes) / sqrt(d.passes)

        contenders: list[int] = []
        rivals: set[int] = set()
        for candidate in self.contenders:
            row = {
                # An error below `fine` is taken for none: two tunes cannot agree more closely.
                rival: (d.mean, 0.0 if not few and error(d) < self._fine else error(d))
                for rival, d in table[candidate].items()
            }
            if any(mean - self._sure * e > self._tie for mean, e in row.values()):
                continue
            open_against = {r for r, (m, e) in row.items() if m + self._sure * e > self._tie}
            if not open_against:
                self.fallback = candidate
                break
            contenders.append(candidate)
            rivals |= open_against
        if not contenders and self.fallback is None:  # by noise, each is too slow against another
            self.fallback = self._fastest()
        self.contenders, self.rivals = contenders, rivals
        return not contenders

    def winner(self) -> int | None:
        """The winner as far as it is known; None if no candidate is left."""
        table = self._table()
        for candidate in self.contenders:
            if all(d.mean <= self._tie for d in table[candidate].values()):
                return candidate
        if self.fallback is not None:
            return self.fallback
        return self._fastest()

    def _fastest(self) -> int | None:
        left = [c for c in self.live if self.times[c]]
        return min(left, key=lambda c: (centre(self.times[c]), c), default=None)

    def _table(self) -> dict[int, dict[int, Difference]]:
        """Each contender against the fastest of all others."""
        if len(self.live) < 2:
            return {candidate: {} for candidate in self.contenders}
        speed = sorted(self.live, key=lambda c: (centre(self.times[c]), c))
        return {
            candidate: {
                rival: difference(self.times[candidate], self.times[rival])
                for rival in [c for c in speed[: RIVALS + 1] if c != candidate][:RIVALS]
            }
            for candidate in self.contenders
        }
