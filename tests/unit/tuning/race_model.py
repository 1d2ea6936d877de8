"""A GPU's timing noise, for statistical tests of the race: keys, their candidates, and tunes.

A `Key` holds what is true: each candidate's mean time at full clock, spikes left out. A `Tune` is
one process that tunes it: it has a clock that ramps up after every pause and then waves, buffers
of its own, and a timer. Both are made from a seed alone. `Tune.stock` tunes as
`do_bench` does. `figures` sums up what many tunes of many keys chose.

What is assumed, and where it comes from:

- a sample's noise is lognormal, 1-3 %; 1-2 % of the samples take 1.2 to 4 times as long
- the clock is up to 8 % low after a pause, for 50-200 ms, then waves by 1 % with a period of
  0.3-3 s; a kernel follows it to 70-100 %
- the timer counts in steps of 0.03-0.5 µs, with an arbitrary phase
- one candidate in ten has two modes, the slower one 2-6 % slower, in 10-50 % of the launches
- where the buffers lie shifts every candidate's time: by 0.3 % at most, or by a normal
  distribution with a standard deviation of 0.3 % (`Key.offset`)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import numpy as np

Family = Literal["spread", "ties", "flat"]
Offset = Literal["uniform", "normal"]
Prior = Literal["right", "near", "random", "reversed"]
OVERHEAD_MS = 0.17  # host time of a launch and the flush of the L2
BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class Key:
    """`ms`: true mean time of each candidate; inf: it cannot run."""

    family: Family
    ms: tuple[float, ...]
    noise: tuple[float, ...]
    slow_mode: tuple[tuple[float, float], ...]  # (probability, by how much slower)
    spikes: float
    step_ms: float
    offset: Offset
    seed: int

    @property
    def best(self) -> float:
        return min(self.ms)

    def regret(self, candidate: int) -> float:
        return self.ms[candidate] / self.best - 1


def make_key(
    seed: int,
    *,
    family: Family | None = None,
    count: int | None = None,
    best_ms: float | None = None,
    offset: Offset = "uniform",
    failing: float = 0.03,
) -> Key:
    """A key of 2-60 candidates with a best time of 3 µs to 50 ms, most of 20-500 µs.

    Families: `spread`, times up to 1.3-10 times the best; `ties`, the same with 2-6 candidates
    within 0.5 % of the best; `flat`, all within 2-10 %, as when memory alone limits.
    """
    r = Random(seed)
    family = family or r.choices(("spread", "ties", "flat"), (50, 35, 15))[0]
    n = count or round(_log_uniform(r, 2, 60))
    if family == "flat":
        widest = r.uniform(0.02, 0.1)
        ratios = [1 + r.uniform(0, widest) for _ in range(n)]
    else:
        widest = math.log(r.uniform(1.3, 10))
        ratios = [math.exp(r.uniform(0.01, widest)) for _ in range(n)]
        if family == "ties":
            for i in r.sample(range(n), min(n, r.randint(2, 6))):
                ratios[i] = 1 + r.uniform(0, 0.005)
    low, high = r.choices(((0.02, 0.5), (0.003, 0.02), (0.5, 50)), (70, 20, 10))[0]
    best = best_ms or _log_uniform(r, low, high)
    works = [r.random() >= failing for _ in ratios]
    works[r.randrange(n)] = True
    least = min(x for x, ok in zip(ratios, works, strict=True) if ok)
    return Key(
        family=family,
        ms=tuple(best * x / least if ok else math.inf for x, ok in zip(ratios, works, strict=True)),
        noise=tuple(r.uniform(0.01, 0.03) for _ in ratios),
        slow_mode=tuple(
            (r.uniform(0.1, 0.5), r.uniform(0.02, 0.06)) if r.random() < 0.1 else (0.0, 0.0)
            for _ in ratios
        ),
        spikes=r.uniform(0.01, 0.02),
        step_ms=_log_uniform(r, 0.03, 0.5) / 1000,
        offset=offset,
        seed=seed,
    )


def _log_uniform(r: Random, low: float, high: float) -> float:
    return math.exp(r.uniform(math.log(low), math.log(high)))


@dataclass
class Tune:
    """One process that tunes a key. It is a `Track`; `ms_spent` is the time it sampled."""

    key: Key
    number: int
    ms_spent: float = 0.0
    launches: int = 0

    def __post_init__(self) -> None:
        r = self.random = Random(self.key.seed * 1000 + self.number)
        self._numpy = np.random.default_rng(r.getrandbits(63))
        self._ramp, self._ramp_ms = r.uniform(0.02, 0.08), r.uniform(50, 200)
        self._wave, self._wave_ms = r.uniform(0, 0.01), r.uniform(300, 3000)
        self._phase = r.uniform(0, 2 * math.pi)
        self._now = self._since = 0.0
        self._draws: Iterator[tuple[float, float, float, float, float]] = iter(())
        draw = (
            (lambda: r.uniform(-0.003, 0.003))
            if self.key.offset == "uniform"
            else (lambda: r.gauss(0, 0.003))
        )
        self.offsets = [1 + draw() for _ in self.key.ms]
        self._follows = [r.uniform(0.7, 1) for _ in self.key.ms]

    # What the race asks for

    def compiled(self, wave: Sequence[int]) -> Iterator[int]:
        """In a random order, some of them together and some after a pause."""
        order = self.random.sample(list(wave), len(wave))
        for candidate in order:
            if self.random.random() < 0.5:
                self.pause(self.random.uniform(5, 1000))
            yield candidate

    def ready(self, candidate: int) -> bool:
        ms = self.key.ms[candidate]
        if math.isfinite(ms):
            self._now += ms + OVERHEAD_MS
            self.ms_spent += ms + OVERHEAD_MS
        return math.isfinite(ms)

    def sample(self, order: Sequence[int]) -> list[float]:
        return [self._launch(candidate) for candidate in order]

    def pause(self, ms: float) -> None:
        """The GPU had nothing to do: its clock falls back if that was long."""
        self._now += ms
        if ms > 100:
            self._since = self._now

    # How long a launch takes

    def clock(self, at: float) -> float:
        """How much longer everything takes than at full clock."""
        wave = self._wave * math.sin(2 * math.pi * at / self._wave_ms + self._phase)
        return wave + self._ramp * math.exp(-3 * (at - self._since) / self._ramp_ms)

    def _launch(self, candidate: int) -> float:
        try:
            noise, spiked, spike, mode, phase = next(self._draws)
        except StopIteration:
            g = self._numpy
            self._draws = zip(
                g.standard_normal(BLOCK).tolist(), *g.random((4, BLOCK)).tolist(), strict=True
            )
            noise, spiked, spike, mode, phase = next(self._draws)
        key = self.key
        chance, slower = key.slow_mode[candidate]
        ms = key.ms[candidate] * self.offsets[candidate] * (1 + key.noise[candidate] * noise)
        if slower:
            ms *= (1 + slower if mode < chance else 1) / (1 + chance * slower)
        if spiked < key.spikes:
            ms *= 1.2 + 2.8 * spike
        ms *= 1 + self._follows[candidate] * self.clock(self._now)
        self._now += ms + OVERHEAD_MS
        self.ms_spent += ms + OVERHEAD_MS
        self.launches += 1
        return math.floor(ms / key.step_ms + phase) * key.step_ms

    def ideal(self, tie: float) -> int:
        """What the rule would choose from endless samples with this tune's buffers."""
        ms = [true * offset for true, offset in zip(self.key.ms, self.offsets, strict=True)]
        return next(c for c, one in enumerate(ms) if one <= (1 + tie) * min(ms))

    # How stock Triton does it

    def stock(self) -> int:
        """`do_bench` of one candidate after the other, each after its compile; least median wins.

        25 ms warm-up, then as many launches as fit into 100 ms, flushes included.
        """
        key, medians = self.key, {}
        for c, true in enumerate(key.ms):
            if not math.isfinite(true):
                continue
            self.pause(self.random.uniform(200, 1000))
            each = true + OVERHEAD_MS
            warm, repeats = max(1, int(25 / each)), max(1, int(100 / each))
            before = 6 * each + warm * true
            self._now += before
            ends = self._now + each * np.arange(repeats)
            self._now += each * repeats
            self.ms_spent += before + each * repeats
            g = self._numpy
            chance, slower = key.slow_mode[c]
            ms = true * self.offsets[c] * (1 + key.noise[c] * g.standard_normal(repeats))
            ms *= np.where(g.random(repeats) < chance, 1 + slower, 1) / (1 + chance * slower)
            ms *= np.where(g.random(repeats) < key.spikes, 1.2 + 2.8 * g.random(repeats), 1)
            wave = self._wave * np.sin(2 * np.pi * ends / self._wave_ms + self._phase)
            ramp = self._ramp * np.exp(-3 * (ends - self._since) / self._ramp_ms)
            ms *= 1 + self._follows[c] * (wave + ramp)
            shown = np.floor(ms / key.step_ms + g.random(repeats)) * key.step_ms
            medians[c] = float(np.median(shown))
        return min(medians, key=lambda c: medians[c])


def prior_of(key: Key, kind: Prior) -> Mapping[int, float]:
    """Expected times: the true ones, 8 % off, dealt out at random, or fast and slow exchanged."""
    r = Random(key.seed + 77)
    worst = max(ms for ms in key.ms if math.isfinite(ms))
    times = [ms if math.isfinite(ms) else worst for ms in key.ms]
    if kind == "near":
        times = [ms * math.exp(r.gauss(0, 0.08)) for ms in times]
    elif kind == "random":
        r.shuffle(times)
    elif kind == "reversed":
        times = [worst * key.best / ms for ms in times]
    return {c: ms / min(times) for c, ms in enumerate(times)}


def known_of(key: Key) -> Mapping[int, float]:
    """What an interrupted race left: two thirds of the candidates, at a clock 10 % lower."""
    r = Random(key.seed + 78)
    return {
        c: 1.1 * ms * (1 + r.gauss(0, 0.02))
        for c, ms in enumerate(key.ms)
        if math.isfinite(ms) and r.random() < 2 / 3
    }


# What many tunes chose


def tune_all(
    keys: Sequence[Key], tunes: int, choose: Callable[[Tune], int | None]
) -> list[list[tuple[int, float]]]:
    """For each key, of each tune: the winner and the ms spent."""
    chosen: list[list[tuple[int, float]]] = []
    for key in keys:
        chosen.append([])
        for number in range(tunes):
            tune = Tune(key, number)
            winner = choose(tune)
            assert winner is not None
            chosen[-1].append((winner, tune.ms_spent))
    return chosen


def figures(keys: Sequence[Key], chosen: list[list[tuple[int, float]]]) -> dict[str, Any]:
    """Shares as shares, times in ms. Against the truth of the model, allocation offsets left out.

    `same`: of the keys, for which all tunes chose one winner. `pairs`: of the pairs of tunes.
    `usual`: of the tunes, that chose the most frequent winner of their key.
    """
    regret = sorted(key.regret(w) for key, row in zip(keys, chosen, strict=True) for w, _ in row)
    over_first = [
        key.ms[w] / key.ms[0] - 1 for key, row in zip(keys, chosen, strict=True) for w, _ in row
    ]
    spent = sum(ms for row in chosen for _, ms in row)
    answer: dict[str, Any] = {
        "tunes": len(regret),
        "regret": {
            "mean": sum(regret) / len(regret),
            **{
                f"p{q:g}": regret[min(int(q / 100 * len(regret)), len(regret) - 1)]
                for q in (50, 75, 90, 95, 99, 99.9, 100)
            },
        },
        "worst_against_first": max(over_first),
        "more_than_2_percent_over_first": sum(x > 0.02 for x in over_first) / len(over_first),
        "sampling_ms_per_candidate": spent
        / sum(len(key.ms) * len(row) for key, row in zip(keys, chosen, strict=True)),
    }
    counts = [list(Counter(w for w, _ in row).values()) for row in chosen]
    n = len(chosen[0])
    if n > 1:
        pairs = sum(c * (c - 1) for row in counts for c in row) / (n * (n - 1)) / len(keys)
        answer["agreement"] = {
            "same": sum(len(row) == 1 for row in counts) / len(keys),
            "pairs": pairs,
            "usual": sum(map(max, counts)) / n / len(keys),
        }
    return answer


def kernel_class(key: Key) -> str:
    return "3-20 µs" if key.best < 0.02 else "20-500 µs" if key.best < 0.5 else "0.5-50 ms"
