"""What is expected of candidates before they are measured, and how far to trust it.

Expectations come from an interrupted race, from verdicts of near keys, of another GPU product or
of an earlier source. They decide who is compiled and looked at first, and who never needs to be.
How far they are trusted is found out in the race itself: those that were looked at, some of them
only for that, show how far the expectation is off, and whoever could still win within that
error is looked at too. An expectation that means nothing therefore ends in a look at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite, log, sqrt
from random import Random
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How far expectations prune. The numbers are chosen on simulated races, see the decisions."""

    # Looked at in any case: expected within this factor of the expected best...
    near: float = 1.15
    # ...and this many of the most promising.
    least: int = 3
    # One in so many of the others, at random among those that compile soonest, shows whether the
    # rest is as expected.
    probe_every: int = 6
    # The error of an expectation before anything was seen, as a standard deviation of log times:
    # of times measured for this very key, and of those for another.
    known_error: float = 0.05
    prior_error: float = 0.08
    # This much evidence (in candidates) is that first guess worth.
    weight: float = 3.0
    # Left out is whoever would have to be faster than expected by so many standard deviations.
    sure: float = 2.5
    # An expectation is wrong altogether, and all are looked at, if its error turns out to be as
    # large as this, or if its favourite is so many times slower than the best that was seen.
    broken: float = 0.2
    upset: float = 1.1


@dataclass(frozen=True)
class Expected:
    """Expected times of candidates from one source, in a unit that only the source knows."""

    times: Mapping[int, float]
    error: float
    trust: Trust = field(default_factory=Trust)

    @classmethod
    def of(cls, times: Mapping[int, float], error: float, trust: Trust) -> Expected:
        """Leaves out what is no time."""
        return cls({c: t for c, t in times.items() if isfinite(t) and t > 0}, error, trust)

    def promising(self) -> list[int]:
        """Whom to look at first, best first."""
        order = sorted(self.times, key=lambda c: (self.times[c], c))
        near = sum(self.times[c] <= self.trust.near * self.times[order[0]] for c in order)
        return order[: max(near, self.trust.least)]

    def could_win(self, seen: Mapping[int, float]) -> list[int]:
        """Who of the unseen may beat the best of the seen (measured, in ms), best first."""
        unseen = [c for c in self.times if c not in seen]
        both = [c for c in self.times if c in seen]
        if not both:
            return unseen
        offs = {c: log(seen[c] / self.times[c]) for c in both}
        shift = median(offs.values())
        squares = sum((off - shift) ** 2 for off in offs.values())
        weight = self.trust.weight
        error = sqrt((weight * self.error**2 + squares) / (weight + len(both)))
        best = min(seen.values())
        favourite = min(both, key=lambda c: self.times[c])
        if error > self.trust.broken or seen[favourite] > self.trust.upset * best:
            return unseen
        limit = best / exp(shift - self.trust.sure * error)
        return sorted((c for c in unseen if self.times[c] < limit), key=lambda c: self.times[c])


class Expectations:
    """All that is expected of the candidates of one race, asked wave by wave.

    `compile_s` are the seconds that compiling takes, of those of whom that is known.
    """

    def __init__(
        self,
        candidates: Sequence[int],
        *,
        known: Mapping[int, float],
        prior: Mapping[int, float],
        compile_s: Mapping[int, float],
        trust: Trust,
        seed: int,
    ) -> None:
        own = {c: known[c] for c in candidates if c in known}
        from_own = Expected.of(own, trust.known_error, trust)
        others = {c: prior[c] for c in candidates if c in prior and c not in from_own.times}
        self._sources = [from_own, Expected.of(others, trust.prior_error, trust)]
        self._candidates = list(candidates)
        self._compile_s = compile_s
        self._trust = trust
        self._seed = seed

    def first(self) -> list[int]:
        """The first wave, in the order in which it is best compiled.

        The most promising, the first of the list, those of whom nothing is expected, and probes:
        of these, none that is waited for longer than for who may win, if there are others.
        """
        wave = [c for source in self._sources if source.times for c in source.promising()]
        wave += [c for c in self._candidates[:1] if c not in wave]
        expected = {c for source in self._sources for c in source.times}
        wave += [c for c in self._candidates if c not in expected and c not in wave]
        rest = [c for c in self._candidates if c not in wave]
        count = -(-len(rest) // self._trust.probe_every)
        took = self._compile_s
        longest = max((took[c] for c in wave if c in took), default=0.0)
        soonest = sorted(rest, key=lambda c: took.get(c, longest))
        soon = [c for c in soonest if took.get(c, longest) <= longest]
        # A draw for each, and not one from a list: who else is in it makes no difference then.
        drawn = sorted(soon, key=lambda c: Random(f"{self._seed} {c}").random())
        return wave + (drawn if len(soon) >= count else soonest)[:count]

    def more(self, seen: Mapping[int, float], asked: Iterable[int]) -> list[int]:
        """The next wave: who could still win, given the times in ms of those that were seen."""
        asked = set(asked)
        if not seen:
            return [c for c in self._candidates if c not in asked]
        return [c for s in self._sources for c in s.could_win(seen) if c not in asked]
