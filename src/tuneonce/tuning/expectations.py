"""What is expected of candidates before they are measured, and how far to trust it.

Expectations come from an interrupted race, from verdicts of near keys, of another GPU product or
of an earlier source. They decide which candidates are compiled and measured first, and which never
are. How far an expectation is trusted is found out in the race itself: the candidates that were
measured, some of them chosen only for this, show its error, and each candidate that could still win
within that error is measured, too. With an expectation that means nothing, all are measured.

A race asks for candidates in *waves*: it compiles and measures one wave, compares the times with
what was expected, and asks for the next, until no other candidate could win.
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

    # In the first wave: all candidates expected within this factor of the expected best...
    near: float = 1.15
    # ...and at least this many of the most promising.
    least: int = 3
    # ...and, as probes, one in so many of the others, at random among those that compile soonest:
    # they show whether the rest is as expected.
    probe_every: int = 6
    # The error of an expectation before anything was measured, as a standard deviation of log
    # times: for times measured for this very key, and for those of another key.
    known_error: float = 0.05
    prior_error: float = 0.08
    # Where no probes are wanted: the first wave has those within this factor of the expected best.
    near_without_probes: float = 1.1
    # That first guess of the error counts as much as this many measured candidates.
    weight: float = 3.0
    # A candidate is left out if, to win, it would have to be faster than expected by more than so
    # many standard deviations.
    sure: float = 2.5
    # An expectation is wrong altogether, and all candidates are measured, if its error turns out to
    # be larger than `broken`, or if, of the measured candidates, the one that it expects to be
    # the fastest is more than `upset` times as slow as the fastest.
    broken: float = 0.2
    upset: float = 1.1


@dataclass(frozen=True)
class Expected:
    """Expected times of candidates from one source, in a unit of its own."""

    times: Mapping[int, float]
    error: float
    trust: Trust = field(default_factory=Trust)
    probes: bool = True
    """Whether the error is but a guess, so that others are measured to find it out."""

    @classmethod
    def of(
        cls,
        times: Mapping[int, float],
        error: float,
        trust: Trust,
        *,
        probes: bool = True,
    ) -> Expected:
        """An expectation from these times, without those that are no times."""
        usable = {c: t for c, t in times.items() if isfinite(t) and t > 0}
        return cls(usable, error, trust, probes)

    def promising(self) -> list[int]:
        """The candidates to measure first, the fastest expected first."""
        limit = self.trust.near if self.probes else self.trust.near_without_probes
        order = sorted(self.times, key=lambda c: (self.times[c], c))
        near = sum(self.times[c] <= limit * self.times[order[0]] for c in order)
        return order[: max(near, self.trust.least)]

    def could_win(self, seen: Mapping[int, float]) -> list[int]:
        """The candidates that were not measured and may be the fastest, the likeliest first.

        `seen` are measured times in ms.
        """
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

    `compile_s` are seconds of compiling, of the candidates for which these are known. `prior_error`
    is the error of `prior`, where it is not the usual one; without `probes`, the two say of
    themselves how far they are off.
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
        prior_error: float | None = None,
        probes: bool = True,
    ) -> None:
        own = {c: known[c] for c in candidates if c in known}
        from_own = Expected.of(own, trust.known_error, trust)
        others = {c: prior[c] for c in candidates if c in prior and c not in from_own.times}
        error = trust.prior_error if prior_error is None else prior_error
        self._sources = [from_own, Expected.of(others, error, trust, probes=probes)]
        self._probes = probes
        self._candidates = list(candidates)
        self._compile_s = compile_s
        self._trust = trust
        self._seed = seed

    def first(self) -> list[int]:
        """The first wave, in the order in which it is best compiled.

        It holds the most promising candidates, the first of the author's list, all of which
        nothing is expected, and probes, if there are to be any. As the race waits for the whole
        wave, no probe is taken that compiles longer than the slowest of the others, unless there
        are too few that do not.
        """
        wave = [c for source in self._sources if source.times for c in source.promising()]
        wave += [c for c in self._candidates[:1] if c not in wave]
        expected = {c for source in self._sources for c in source.times}
        wave += [c for c in self._candidates if c not in expected and c not in wave]
        if not self._probes:
            return wave
        rest = [c for c in self._candidates if c not in wave]
        count = -(-len(rest) // self._trust.probe_every)
        took = self._compile_s
        longest = max((took[c] for c in wave if c in took), default=0.0)
        soonest = sorted(rest, key=lambda c: took.get(c, longest))
        soon = [c for c in soonest if took.get(c, longest) <= longest]
        # Each candidate has a random number of its own, so whether it is drawn ahead of another
        # does not depend on which others could be drawn.
        drawn = sorted(soon, key=lambda c: Random(f"{self._seed} {c}").random())
        return wave + (drawn if len(soon) >= count else soonest)[:count]

    def more(self, seen: Mapping[int, float], asked: Iterable[int]) -> list[int]:
        """The next wave: candidates that could still win.

        `seen` are measured times in ms, `asked` the candidates of earlier waves. Where nothing
        could be measured, all that are left.
        """
        asked = set(asked)
        if not seen:
            return [c for c in self._candidates if c not in asked]
        return [c for s in self._sources for c in s.could_win(seen) if c not in asked]
