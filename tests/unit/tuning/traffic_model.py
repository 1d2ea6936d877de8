"""A key's traffic, for statistical tests of exploring: launches, and times that come late.

A `Traffic` is one process that serves one key. It has true times of all candidates (`Key` of
`race_model`), a clock that ramps up at the beginning and then waves, other work on the GPU that
makes some launches take much longer, launches of several sizes, and a compiler that hands out one
candidate after the other. All of it comes from a seed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.unit.tuning.race_model import Key
from tuneonce.tuning.exploration import Exploration
from tuneonce.tuning.terms import TERMS, Choice, Terms, Verdict


@dataclass
class Traffic:
    """`noise`: spread of a launch's logarithm. `outliers`: share of launches that take 1.5 to 10
    times as long. `late`: a time comes back so many launches later. `arrive_every`: a candidate is
    loaded every so many launches. `sizes`: how far apart the smallest and the largest launch are.
    `special(candidate, number)` is a factor for the number-th launch of a candidate. `served` is
    the one that serves at first, else the first that runs.
    """

    key: Key
    seed: int = 0
    noise: float = 0.05
    outliers: float = 0.02
    late: int = 8
    arrive_every: int = 10
    sizes: float = 1.0
    fixed: float = 0.2
    ramp: float = 0.3
    terms: Terms = TERMS
    special: Callable[[int, int], float] = lambda candidate, number: 1.0
    served: int | None = None
    used_ms: float = 0.0
    count: int = 0
    launched: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        r = self.random = Random(self.seed * 7919 + self.key.seed)
        self._wave, self._phase = r.uniform(100, 3000), r.random() * 6.28
        runs = [i for i, ms in enumerate(self.key.ms) if math.isfinite(ms)]
        self.exploration = Exploration(
            range(len(self.key.ms)),
            runs[0] if self.served is None else self.served,
            terms=self.terms,
            seed=self.seed,
        )
        incumbent = self.exploration.incumbent
        self._coming = [i for i in range(len(self.key.ms)) if i != incumbent]
        self._flying: deque[tuple[int, Choice, float]] = deque()

    def true_ms(self, candidate: int, size: float) -> float:
        """Part of a time does not depend on the size."""
        return self.key.ms[candidate] * (self.fixed + (1 - self.fixed) * size)

    def time(self, candidate: int, size: float) -> float:
        """How long the next launch takes."""
        r = self.random
        clock = 1 + self.ramp * math.exp(-self.count / 60)
        clock += 0.01 * math.sin(self.count / self._wave * 6.28 + self._phase)
        number = self.launched.get(candidate, 0)
        self.launched[candidate] = number + 1
        ms = self.true_ms(candidate, size) * clock * math.exp(r.gauss(0, self.noise))
        if not number:
            ms *= r.uniform(1.0, 4.0)
        if r.random() < self.outliers:
            ms *= math.exp(r.uniform(math.log(1.5), math.log(10)))
        return ms * self.special(candidate, number)

    def step(self) -> Verdict | None:
        """One launch, and what comes back meanwhile."""
        exploration, r = self.exploration, self.random
        self.count += 1
        if self._coming and self.count % self.arrive_every == 0:
            candidate = self._coming.pop(0)
            if math.isfinite(self.key.ms[candidate]):
                exploration.available(candidate)
            else:
                exploration.fail(candidate)
        programs = round(1000 * math.exp(r.uniform(0, math.log(self.sizes))))
        choice = exploration.choose(programs)
        ms = self.time(choice.position, programs / 1000)
        self.used_ms += ms
        if choice.timed:
            self._flying.append((self.count + self.late, choice, ms))
        while self._flying and self._flying[0][0] <= self.count:
            exploration.observe(*self._flying.popleft()[1:])
        return exploration.decide() if exploration.due else None

    def run(self, most: int = 20_000) -> Verdict:
        for _ in range(most):
            if (verdict := self.step()) is not None:
                return verdict
        raise AssertionError(f"no verdict after {most} launches: {vars(self.exploration)}")
