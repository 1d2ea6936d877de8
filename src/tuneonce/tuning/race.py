"""The race between the candidates of one key: who is measured how often, and who wins.

Every candidate is looked at as it arrives from the compiler: a few samples, fewer of slow kernels,
and out if it is far behind the best so far when launched right beside it. Whoever is left runs in
passes, side by side in changing order, until the winner is certain or the budget is spent. The
winner is the first of the author's list within the tie of the fastest, so that independent tunes
agree and none replaces the author's first choice for less than noise.

Nothing here compiles, launches, waits or reads a clock: `Track` and `compiled` do. Times are in
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from random import Random
from statistics import fmean
from typing import Protocol

from .expectations import Expectations, Trust
from .finals import Finals
from .quantiles import quantile


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a race is run. Where no reason is given, a number is arbitrary within a factor of two."""

    # A candidate this much slower than the fastest still ties with it. As wide as the differences
    # between two allocations of the same buffers allow two tunes to agree, see the decisions.
    tie: float = 0.02
    # Something is certain at so many standard errors.
    sure: float = 3.0
    # No more samples for a standard error below this: another allocation shifts more than that.
    fine: float = 0.0008
    # Samples of a first look, and the time of it after which no further one is taken.
    look_samples: int = 5
    look_ms: float = 3.0
    # Out after the first look, when it is so many times slower than the best beside it.
    # Wider than any clock ramp that two adjacent launches could straddle.
    hopeless: float = 1.3
    # Sampling time of all candidates together: so much, and so much more for each.
    base_ms: float = 120.0
    candidate_ms: float = 72.0
    # ...or as many launches of the fastest, where that is more.
    candidate_launches: float = 12.0
    # What a sample costs beside the kernel, on an H200: 0.1 for the launch, 0.07 for the L2 flush.
    overhead_ms: float = 0.17
    # Taken whatever they cost.
    least_passes: int = 8
    # Passes are judged after the first one, after so many, and whenever they grew by this factor.
    judged_at: int = 4
    growth: float = 1.3
    # Passes are asked for together up to this sampling time.
    batch_ms: float = 10.0
    # Shorter than the clock of any GPU tells; stands for a sample of 0.
    least_ms: float = 1e-5
    trust: Trust = field(default_factory=Trust)


RULES = Rules()


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All samples of one candidate. `round`: 0 after the first look, then its last pass."""

    median_ms: float
    p20_ms: float
    p80_ms: float
    samples: int
    round: int


class Track(Protocol):
    """Where candidates run."""

    def ready(self, candidate: int) -> bool:
        """Load it and launch it once, untimed. False: it cannot run and is out."""

    def sample(self, order: Sequence[int]) -> Sequence[float]:
        """One launch of each in this order, cold L2: ms each; not finite or below 0: it failed.

        One candidate may stand in it several times.
        """


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a race ended.

    `winner` is None if no candidate ran. `summaries` are of those sampled in this race and not
    failed. `finalists` ran side by side, in the order of the list. `failed` could not run.
    `missing` were asked for and never came. `untried` could not win by what was expected of them
    and were never asked for. `certain`: the budget sufficed. `passes` is the number of launches of
    the finalist that had most. `sampled_ms` is the time that the `samples` took, with
    `Rules.overhead_ms` for each.
    """

    winner: int | None
    summaries: dict[int, Summary]
    finalists: tuple[int, ...]
    failed: frozenset[int]
    missing: frozenset[int]
    untried: frozenset[int]
    certain: bool
    samples: int
    passes: int
    sampled_ms: float


def race(
    candidates: Sequence[int],
    compiled: Callable[[Sequence[int]], Iterable[int]],
    track: Track,
    *,
    known: Mapping[int, float] | None = None,
    prior: Mapping[int, float] | None = None,
    compile_s: Mapping[int, float] | None = None,
    rules: Rules = RULES,
    seed: int = 0,
    on_summary: Callable[[int, Summary, bool], None] = lambda candidate, summary, settled: None,
) -> Result:
    """Race the candidates of one key.

    `candidates` are positions in the author's list, ascending, without those that are known to
    fail. `compiled(wave)` has the candidates of the wave compiled, the most promising first, and
    returns an iterator that blocks until the next one is there, in any order; those that do not
    compile it leaves out. It is called once with all, unless something is expected: then first
    with those that matter, and again with more where the expectation turns out wrong. It may also
    yield candidates that were not asked for yet.

    `known`: median times in ms of this key from an interrupted race. `prior`: expected times
    relative to each other, from other keys, GPUs or sources. Neither decides: whoever wins was
    sampled in this race, beside the others. `compile_s`: expected seconds of compiling.

    `on_summary(candidate, summary, settled)` is called when there is something worth keeping:
    after the first look, and, settled, when the candidate is dropped or the race ends.
    """
    expectations = Expectations(
        candidates,
        known=known or {},
        prior=prior or {},
        compile_s=compile_s or {},
        trust=rules.trust,
        seed=seed,
    )
    return _Race(candidates, track, rules, seed, on_summary).run(compiled, expectations)


class _Race:
    def __init__(
        self,
        candidates: Sequence[int],
        track: Track,
        rules: Rules,
        seed: int,
        on_summary: Callable[[int, Summary, bool], None],
    ) -> None:
        self.candidates = list(candidates)
        if self.candidates != sorted(set(self.candidates)):
            raise ValueError("candidates are ascending positions in the author's list")
        self.track, self.rules, self.seed, self.on_summary = track, rules, seed, on_summary
        self.samples: dict[int, list[float]] = {}
        self.rounds: dict[int, int] = {}
        self.settled: set[int] = set()
        self.failed: set[int] = set()
        self.fallen = False  # one failed after it had been sampled
        self.arrived: set[int] = set()
        self.looks: dict[int, float] = {}  # ms, from the first look
        self.running: list[int] = []  # looked at and not out
        self.launches = 0
        self.sampled_ms = 0.0

    def run(
        self,
        compiled: Callable[[Sequence[int]], Iterable[int]],
        expectations: Expectations,
    ) -> Result:
        asked: list[int] = []
        wave = expectations.first()
        while True:
            while wave:
                asked += wave
                for candidate in compiled(wave):
                    self.arrive(candidate)
                wave = expectations.more(self.looks, self.arrived.union(asked))
            if self.fallen:  # others were dropped because they were slower
                self.running = sorted(self.samples)
                self.fallen = False
            finals = self.run_finals()
            if not self.fallen:
                break
            wave = expectations.more(self.looks, self.arrived.union(asked))
        winner = finals.winner()
        for candidate in self.samples:
            self.settle(candidate)
        return Result(
            winner=winner,
            summaries={c: self.summary(c) for c in sorted(self.samples)},
            finalists=tuple(c for c in sorted(finals.times) if c not in self.failed),
            failed=frozenset(self.failed),
            missing=frozenset(asked) - self.arrived,
            untried=frozenset(self.candidates) - self.arrived - set(asked),
            certain=len(finals.live) < 2,
            samples=self.launches,
            passes=max(map(len, finals.times.values()), default=0),
            sampled_ms=self.sampled_ms,
        )

    # The first look

    def arrive(self, candidate: int) -> None:
        if candidate not in self.candidates:
            raise ValueError(f"candidate {candidate} is not in this race")
        if candidate in self.arrived:
            return
        self.arrived.add(candidate)
        if not self.track.ready(candidate):
            self.fail(candidate)
        elif self.look(candidate):
            self.running.append(candidate)
            self.on_summary(candidate, self.summary(candidate), False)
        else:
            self.settle(candidate)

    def look(self, candidate: int) -> bool:
        """False: it failed, or is out."""
        rules = self.rules
        best = min(self.running, key=self.looks.__getitem__, default=None)
        far = 2 * rules.hopeless * self.looks[best] if best is not None else inf
        first = self.sample([candidate])[0]
        if first is None:
            return False
        if first < far:  # one sample does, where even a spike would not be that slow
            more = min(rules.look_samples - 1, int(rules.look_ms / first))
            if more and None in self.sample([candidate] * more):
                return False
        least = sorted(self.samples[candidate])[:2]
        self.looks[candidate] = fmean(least)
        if best is None or least[0] < rules.hopeless * self.looks[best]:
            return True
        # The best was measured earlier, perhaps at another clock, and this may have been a spike.
        beside, again = self.sample([best, candidate])
        if again is None:
            return False
        self.looks[candidate] = min(self.looks[candidate], again)
        return beside is None or again < rules.hopeless * beside

    # Side by side

    def run_finals(self) -> Finals:
        rules = self.rules
        finals = Finals(self.running, tie=rules.tie, sure=rules.sure, fine=rules.fine)
        best = min(self.looks.values(), default=0.0)
        each = max(rules.candidate_ms, rules.candidate_launches * best)
        budget = rules.base_ms + each * len(self.candidates)
        random = Random(self.seed)
        judged_at = 1
        while len(finals.live) > 1:
            if finals.passes >= rules.least_passes and self.sampled_ms > budget:
                break
            before = finals.live
            passes = self.run_passes(before, judged_at - finals.passes, random)
            for candidate in self.failed.intersection(before):
                finals.remove(candidate)
            for taken in passes:
                finals.add({c: ms for c, ms in taken.items() if c not in self.failed})
            for candidate in finals.live:
                self.rounds[candidate] = finals.passes
            if finals.passes < judged_at:
                continue
            if judged_at == 1:
                self.drop_hopeless(finals)
                judged_at = rules.judged_at
            else:
                finals.judge()
                judged_at = int(finals.passes * rules.growth) + 1
            for candidate in set(before).difference(finals.live):
                if candidate != finals.fallback:
                    self.settle(candidate)
        return finals

    def run_passes(self, live: list[int], wanted: int, random: Random) -> list[dict[int, float]]:
        """As many passes as are wanted, or fewer: what is worth asking the track for at once."""
        cost = sum(self.looks[c] + self.rules.overhead_ms for c in live)
        count = max(1, min(wanted, int(self.rules.batch_ms / cost)))
        orders: list[list[int]] = []
        for number in range(count):
            # What drifts evenly over two passes hits all alike if the second runs backwards.
            orders.append(orders[-1][::-1] if number % 2 else random.sample(live, len(live)))
        answers = iter(self.sample([c for order in orders for c in order]))
        return [
            {c: ms for c, ms in zip(order, answers, strict=False) if ms is not None}
            for order in orders
        ]

    def drop_hopeless(self, finals: Finals) -> None:
        """After one pass: out is who is far behind now that all are side by side."""
        pair = {c: (finals.times[c][0], self.looks[c]) for c in finals.live}
        best = min(pair, key=lambda c: sum(pair[c]), default=None)
        for candidate in pair:
            # Spikes come in twos: whoever was fast once may be so again.
            least = min(self.samples[candidate])
            if best is not None and least > self.rules.hopeless * max(pair[best]):
                finals.remove(candidate)

    # Bookkeeping

    def sample(self, order: Sequence[int]) -> list[float | None]:
        """One launch each. None: it failed, now or before, and is out of the race."""
        taken: list[float | None] = []
        for candidate, ms in zip(order, self.track.sample(order), strict=True):
            self.launches += 1
            self.sampled_ms += self.rules.overhead_ms
            if candidate not in self.failed and (not isfinite(ms) or ms < 0):
                self.fail(candidate)
            if candidate in self.failed:
                taken.append(None)
                continue
            self.sampled_ms += ms
            self.samples.setdefault(candidate, []).append(max(ms, self.rules.least_ms))
            taken.append(self.samples[candidate][-1])
        return taken

    def fail(self, candidate: int) -> None:
        self.failed.add(candidate)
        self.fallen |= candidate in self.samples
        self.samples.pop(candidate, None)
        self.looks.pop(candidate, None)
        if candidate in self.running:
            self.running.remove(candidate)

    def settle(self, candidate: int) -> None:
        if candidate not in self.settled and candidate in self.samples:
            self.settled.add(candidate)
            self.on_summary(candidate, self.summary(candidate), True)

    def summary(self, candidate: int) -> Summary:
        samples = sorted(self.samples[candidate])
        return Summary(
            median_ms=quantile(samples, 0.5),
            p20_ms=quantile(samples, 0.2),
            p80_ms=quantile(samples, 0.8),
            samples=len(samples),
            round=self.rounds.get(candidate, 0),
        )
