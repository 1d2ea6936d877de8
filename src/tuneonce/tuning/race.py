"""The race between the candidates of one key: how often each is measured, and which one wins.

Every candidate has a *first look* as it arrives from the compiler: a few samples, fewer of slow
kernels. It is out if it is far behind the best so far when launched right beside that. The
candidates that are left run in *passes*, side by side in changing order, until the winner is
certain or the budget is spent. The winner is the first of the author's list within the *tie* of the
fastest, so that independent tunes agree and none replaces the author's first choice for less than
noise.

Nothing here compiles, launches, waits or reads a clock: `Runner` and `compiled` do. Times are in
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    # A standard error below this is as good as none: another allocation shifts times by more.
    fine: float = 0.0008
    # Samples of a first look, and the time of it after which no further one is taken.
    look_samples: int = 5
    look_ms: float = 3.0
    # Out after the first look, when it is so many times slower than the best beside it.
    # Wider than any clock ramp that two adjacent launches could straddle.
    hopeless: float = 1.3
    # The budget: sampling time of all candidates together, so much and so much more for each...
    base_ms: float = 120.0
    candidate_ms: float = 72.0
    # ...or, where that is more, the time of so many launches of the fastest for each.
    candidate_launches: float = 12.0
    # What a sample takes beside the kernel, on an H200: 0.1 for the launch, 0.07 for the L2 flush.
    overhead_ms: float = 0.17
    # So many passes are taken even beyond the budget.
    least_passes: int = 8
    # The finalists are judged after the first pass, after so many passes, and then whenever the
    # number of passes has grown by this factor.
    judged_at: int = 4
    growth: float = 1.3
    # So many are timed beside the winner that may not win.
    weighed: int = 2
    # Passes are launched together up to this sampling time.
    batch_ms: float = 10.0
    # Stands for a sample of 0; no clock of a GPU tells times as short.
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


class Runner(Protocol):
    """The device that candidates run on."""

    def ready(self, candidate: int) -> bool:
        """Load it and launch it once, untimed. False: it cannot run and is out."""

    def sample(self, order: Sequence[int]) -> Sequence[float]:
        """One launch of each in this order, with a cold L2 cache: its time in ms.

        A time that is not finite, or below 0, is a launch that failed. A candidate may stand in the
        order several times.
        """


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a race ended.

    `winner` is None if no candidate ran. `summaries` are of the candidates that were sampled in
    this race and did not fail, `finalists` are those that ran side by side, in the order of the
    list. Candidates that are `failed` could not run, `missing` ones were asked for and never came
    from the compiler, `untried` ones could not win by what was expected and were never asked for.
    `certain`: the budget sufficed. `passes` is the number of launches of the finalist that had
    most. `sampled_ms` is the time that all `samples` took, with `Rules.overhead_ms` for each.
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
    runner: Runner,
    *,
    known: Mapping[int, float] | None = None,
    prior: Mapping[int, float] | None = None,
    prior_error: float | None = None,
    probes: bool = True,
    compile_s: Mapping[int, float] | None = None,
    rules: Rules = RULES,
    seed: int = 0,
    on_summary: Callable[[int, Summary, bool], None] = lambda candidate, summary, settled: None,
    admitted: Callable[[Sequence[int]], Collection[int]] = lambda candidates: candidates,
    weighed: Callable[[Sequence[int]], Collection[int]] = lambda candidates: (),
) -> Result:
    """Race the candidates of one key.

    `candidates` are positions in the author's list, ascending, without those that are known to
    fail. `compiled(wave)` has the candidates of the wave compiled, the most promising first, and
    returns an iterator that blocks until the next one is compiled, in any order; it leaves out
    those that do not compile. It is called once with all candidates, unless something is expected:
    then first with the candidates that matter, and again with more where the expectation turns out
    wrong. It may also yield candidates that were not asked for yet.

    `known`: median times in ms of this key from an interrupted race. `prior`: expected times
    relative to each other, from other keys, classes, GPUs or sources, and `prior_error` how far off
    they are, as a standard deviation of the logarithm, where that is known; `probes`: whether
    candidates are measured to find that out. Neither decides: the winner was sampled in this race,
    beside the others. `compile_s`: expected seconds of compiling.

    `on_summary(candidate, summary, settled)` is called when there is something worth keeping:
    after the first look, and, settled, when the candidate is dropped or the race ends.

    `admitted(candidates)` says which of those that ran may win; the others only count as measured.
    `weighed(candidates)` says which of these others are timed beside the winner, if they look
    faster: then it is known what it costs that they may not win.
    """
    expectations = Expectations(
        candidates,
        known=known or {},
        prior=prior or {},
        prior_error=prior_error,
        probes=probes,
        compile_s=compile_s or {},
        trust=rules.trust,
        seed=seed,
    )
    return _Race(candidates, runner, rules, seed, on_summary, admitted, weighed).run(
        compiled, expectations
    )


class _Race:
    def __init__(
        self,
        candidates: Sequence[int],
        runner: Runner,
        rules: Rules,
        seed: int,
        on_summary: Callable[[int, Summary, bool], None],
        admitted: Callable[[Sequence[int]], Collection[int]],
        weighed: Callable[[Sequence[int]], Collection[int]],
    ) -> None:
        self.candidates = list(candidates)
        if self.candidates != sorted(set(self.candidates)):
            raise ValueError("candidates are ascending positions in the author's list")
        self.runner, self.rules, self.seed, self.on_summary = runner, rules, seed, on_summary
        self.admitted, self.weighed = admitted, weighed
        self.samples: dict[int, list[float]] = {}
        self.rounds: dict[int, int] = {}
        self.settled: set[int] = set()
        self.failed: set[int] = set()
        self.fallen = False  # a candidate has failed after it was sampled
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
                wave = expectations.more(self.admitted_looks(), self.arrived.union(asked))
            # One that failed late may be the reason why others were dropped: all run once more.
            if self.fallen:
                self.running = sorted(self.samples)
                self.fallen = False
            self.admit()
            finals = self.run_finals()
            if not self.fallen:
                self.weigh(finals.winner())
            if not self.fallen:
                break
            wave = expectations.more(self.admitted_looks(), self.arrived.union(asked))
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
        if not self.runner.ready(candidate):
            self.fail(candidate)
        elif self.look(candidate):
            self.running.append(candidate)
            self.on_summary(candidate, self.summary(candidate), False)
        else:
            self.settle(candidate)

    def look(self, candidate: int) -> bool:
        """Whether the candidate goes on after its first look; not if it failed or is far behind."""
        rules = self.rules
        best = min(self.running, key=self.looks.__getitem__, default=None)
        far = 2 * rules.hopeless * self.looks[best] if best is not None else inf
        first = self.sample([candidate])[0]
        if first is None:
            return False
        # A single sample so far behind is enough: no disturbance makes a launch that slow.
        if first < far:
            more = min(rules.look_samples - 1, int(rules.look_ms / first))
            if more and None in self.sample([candidate] * more):
                return False
        least = sorted(self.samples[candidate])[:2]
        self.looks[candidate] = fmean(least)
        if best is None or least[0] < rules.hopeless * self.looks[best]:
            return True
        # Once more, side by side: the best was measured earlier, perhaps at another clock, and the
        # candidate's launches may have been disturbed.
        beside, again = self.sample([best, candidate])
        if again is None:
            return False
        self.looks[candidate] = min(self.looks[candidate], again)
        return beside is None or again < rules.hopeless * beside

    # Who may win

    def admitted_looks(self) -> dict[int, float]:
        """The first looks of those that may win."""
        admitted = self.admitted(sorted(self.looks))
        return {c: ms for c, ms in self.looks.items() if c in admitted}

    def admit(self) -> None:
        """Only those go on that may win, of them also what was dropped for one that may not."""
        looks = self.admitted_looks()
        if len(looks) == len(self.looks):
            return
        least = min(looks.values(), default=0.0)
        self.running = [c for c in sorted(looks) if looks[c] < self.rules.hopeless * least]
        self.settled.difference_update(self.running)

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
        """As many passes as are wanted, or as few as `Rules.batch_ms` allows together."""
        cost = sum(self.looks[c] + self.rules.overhead_ms for c in live)
        count = max(1, min(wanted, int(self.rules.batch_ms / cost)))
        orders: list[list[int]] = []
        for number in range(count):
            # Backwards after forwards: clocks that drift evenly over both hit all alike.
            orders.append(orders[-1][::-1] if number % 2 else random.sample(live, len(live)))
        answers = iter(self.sample([c for order in orders for c in order]))
        return [
            {c: ms for c, ms in zip(order, answers, strict=False) if ms is not None}
            for order in orders
        ]

    def drop_hopeless(self, finals: Finals) -> None:
        """After one pass, the first side by side: remove the candidates that are far behind."""
        pair = {c: (finals.times[c][0], self.looks[c]) for c in finals.live}
        best = min(pair, key=lambda c: sum(pair[c]), default=None)
        for candidate in pair:
            # By its fastest sample: disturbances may hit two launches in a row.
            least = min(self.samples[candidate])
            if best is not None and least > self.rules.hopeless * max(pair[best]):
                finals.remove(candidate)

    def weigh(self, winner: int | None) -> None:
        """Time those beside the winner that look faster and may not win: a first look is not much
        to compare with."""
        if winner is None:
            return
        limit = (1 + self.rules.tie) * self.looks[winner]
        others = {c: ms for c, ms in self.looks.items() if ms < limit and c != winner}
        faster = sorted(self.weighed(sorted(others)), key=others.__getitem__)[: self.rules.weighed]
        if not faster:
            return
        beside = sorted([winner, *faster])
        self.settled.difference_update(beside)
        random, passes = Random(self.seed), 0
        while passes < self.rules.least_passes and not self.fallen:
            passes += len(self.run_passes(beside, self.rules.least_passes - passes, random))

    # Bookkeeping

    def sample(self, order: Sequence[int]) -> list[float | None]:
        """The times of one launch each; None where it failed, now or before."""
        taken: list[float | None] = []
        for candidate, ms in zip(order, self.runner.sample(order), strict=True):
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
