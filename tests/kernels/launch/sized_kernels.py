"""Modelled kernels whose best candidate changes with the size of a launch, or does not.

All are one kernel that is compiled once, with made-up times: the true ones are known, as no GPU
tells them. A `SizedKernel` says them; `Sized` launches it on a simulated GPU and notes what ran.
Everything comes from a seed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

import torch
import triton
import triton.language as tl

from tests.kernels.launch.test_exploration import Process, exploring
from tests.unit.tuning import drifting_levels
from tuneonce.model.key import coordinates, work_class
from tuneonce.policies import OnMiss, Policies
from tuneonce.store.memory import MemoryStore
from tuneonce.system import slices
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import key_classes
from tuneonce.triton.launch.explored_key import ExploredKey

# Launches are of 4**2 to 4**8 programs: the six classes c02 to c07.
CLASSES = range(2, 8)
CANDIDATES = 16
NOISE = 0.02
# Doublings of the size in which one regime gives way to the next, as the scale of a logistic.
_SOFT = 0.25
# Of two neighbouring regimes the best of each is slower in the other by at least this logarithm.
_APART = math.log(1.1)

# Tensors of one element, of which every program has a share of one at most.
X, OUT = torch.zeros(64)[:1], torch.zeros(64)[:1]


@triton.jit
def sized(x, out, TAG: tl.constexpr):
    i = tl.arange(0, 64)
    tl.store(out + i, tl.load(x + i) + TAG)


def tunable() -> Any:
    """A new autotuner over the one kernel. Its key holds nothing, so that only sizes differ."""
    return triton.autotune([triton.Config({"TAG": tag}) for tag in range(CANDIDATES)], [])(sized)


def class_of(programs: int) -> str:
    return work_class(programs, X.numel())


@dataclass
class SizedKernel:
    """The true times. `changes`: how often the best candidate changes with the size; `drifts`: as
    it comes, since all of them drift (`drifting_levels`).

    Each candidate has a level, the logarithm of its time over the best's, in each regime of sizes;
    at a boundary one regime gives way to the next. Boundaries lie anywhere between the middle of
    the first class and that of the last. Without a boundary, candidates come closer or fall back
    slowly with the size, and the best stays the best.
    """

    seed: int
    changes: int
    drifts: bool = False
    boundaries: list[float] = field(default_factory=list)
    """In doublings of the programs, ascending."""

    def __post_init__(self) -> None:
        r = Random(f"{self.seed} {self.changes}")
        low, high = 2 * CLASSES[0] + 1.0, 2 * CLASSES[-1] + 1.0
        self.boundaries = sorted(r.uniform(low, high) for _ in range(self.changes))
        # A few are close to the best, the others up to two and a half times as slow.
        general = [math.log(2.5) * r.random() ** 1.5 for _ in range(CANDIDATES)]
        self._tilts = [r.gauss(0, 0.01) for _ in range(CANDIDATES)]
        self._levels = [_regime(r, general, 0.0)]
        while len(self._levels) <= self.changes:
            found = _regime(r, general, 0.15)
            if _is_apart(self._levels[-1], found):
                self._levels.append(found)
        self._known: dict[int, list[float]] = {}
        if self.drifts:
            self._levels = drifting_levels.drifting(self.seed, CANDIDATES, len(CLASSES))

    def times(self, programs: int) -> list[float]:
        """Milliseconds of each candidate: a fixed part, and one that grows with the size."""
        found = self._known.get(programs)
        if found is None:
            base = 0.004 + 2e-5 * programs
            levels = self._at(math.log2(programs))
            found = self._known[programs] = [base * math.exp(level) for level in levels]
        return found

    def regret(self, candidate: int, programs: int) -> float:
        """By how much it is slower than the best at this size, as a share."""
        times = self.times(programs)
        return times[candidate] / min(times) - 1

    def changes_in(self, name: str) -> bool:
        """Whether a boundary lies in this class of sizes, or so close that it matters there."""
        found = coordinates(name)
        assert found is not None
        low = 2.0 * found[0]
        return any(low - 1 < boundary < low + 3 for boundary in self.boundaries)

    def best_in_class(self, sizes: Sequence[int]) -> dict[str, int]:
        """What no choice of one candidate for each class can beat on these launches."""
        found = {}
        for name in {class_of(n) for n in sizes}:
            here = [n for n in sizes if class_of(n) == name]
            found[name] = min(range(CANDIDATES), key=lambda c: sum(self.regret(c, n) for n in here))
        return found

    def _at(self, size: float) -> list[float]:
        if self.drifts:
            return drifting_levels.at(self._levels, (size - 2 * CLASSES[0] - 1) / 2)
        if not self.changes:
            [levels], middle = self._levels, CLASSES[0] + CLASSES[-1] + 1
            return [
                level and max(level / 2, level + tilt * (size - middle))
                for level, tilt in zip(levels, self._tilts, strict=True)
            ]
        mixed = self._levels[0]
        for boundary, beyond in zip(self.boundaries, self._levels[1:], strict=True):
            share = 1 / (1 + math.exp((boundary - size) / _SOFT))
            mixed = [a + share * (b - a) for a, b in zip(mixed, beyond, strict=True)]
        return mixed


def _regime(r: Random, general: Sequence[float], spread: float) -> list[float]:
    levels = [one + r.gauss(0, spread) for one in general]
    return [one - min(levels) for one in levels]


def _is_apart(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[other.index(0.0)] > _APART and other[one.index(0.0)] > _APART


def make_kernels(count: int) -> list[SizedKernel]:
    """Half of them without a change, a quarter with one, a quarter with two."""
    return [SizedKernel(seed, (0, 1, 0, 2)[seed % 4]) for seed in range(count)]


def make_drifting(count: int) -> list[SizedKernel]:
    return [SizedKernel(seed, 0, drifts=True) for seed in range(count)]


# Every second class, of a size in its middle: then there are classes on both sides of most others.
EVERY_SECOND = tuple(2 ** (2 * c + 1) for c in CLASSES[::2])


def sizes_of(r: Random, count: int) -> list[int]:
    """So many launches, log-uniform over the classes."""
    low, high = 2 * CLASSES[0], 2 * CLASSES[-1] + 2
    return [min(2**high - 1, int(2 ** r.uniform(low, high))) for _ in range(count)]


@dataclass
class Outcome:
    """What came of one arm. `regret`: of each launch of the stream, at its own size."""

    sizes: list[int]
    regret: list[float]
    found: int
    """Classes that have a winner of their own at the end."""
    measured: int
    """Candidates that were measured, or looked at, over all classes."""
    samples: int
    """Launches that were made to measure."""
    beyond_first: int = 0
    """Of `measured`: after the first class."""
    learning: list[float] = field(default_factory=list)
    """The regret of launches before the stream, while traffic tuned the classes."""

    def at_first(self) -> list[float]:
        """The regret of the first launch of each class, by whose size the class was raced."""
        first: dict[str, float] = {}
        for n, regret in zip(self.sizes, self.regret, strict=True):
            first.setdefault(class_of(n), regret)
        return list(first.values())

    def where(self, kernel: SizedKernel, *, changes: bool) -> list[float]:
        """The regret of launches in classes with a boundary, or without."""
        both = zip(self.sizes, self.regret, strict=True)
        return [regret for n, regret in both if kernel.changes_in(class_of(n)) is changes]


class Sized:
    """One kernel on a simulated GPU, launched in several ways, each with a store of its own."""

    def __init__(self, kernel: SizedKernel, gpu: SimulatedGPU, launches: int) -> None:
        r = Random(f"stream {kernel.seed}")
        self.kernel, self.gpu = kernel, gpu
        self.stream = sizes_of(r, launches)
        """The first of these is the warm-up."""
        self._traffic = Random(f"traffic {kernel.seed}")

    def starting(self, *, work_classes: bool = True, warm_up: Sequence[int] = ()) -> Outcome:
        """Each class is raced when it is met, those of `warm_up` first; one verdict a key without
        work classes."""
        with self._process(work_classes=work_classes) as one:
            tuner = tunable()
            self.gpu.forget()
            for n in warm_up:
                self._run(tuner, n)
            ran = [self._run(tuner, n) for n in self.stream]
            tunes = [tune["measured"] for tune in one.events.of("tune")]
            samples = len(self.gpu.history) - len(ran) - len(warm_up)
            return self._outcome(ran, _classes_of(tuner), sum(tunes), samples, sum(tunes[1:]))

    def serving(self, most: int, *, warm_up: Sequence[int] = ()) -> Outcome:
        """A warm-up is raced, then traffic of all sizes tunes the others; then the stream.

        `warm_up` are other sizes than the first of the stream.
        """
        # Nothing runs beside: no rest for other threads.
        with self._process() as one, patch.object(slices, "WORK_S", math.inf):
            tuner = tunable()
            for n in warm_up or self.stream[:1]:
                self._run(tuner, n)
            one.hook._cold_path._phases.serve()
            beside = one.explorations._background = Beside(one.explorations)
            learning: list[float] = []
            met: set[str] = set()
            while len(learning) < most and (
                len(met) < len(CLASSES) or any(_all(tuner, "exploring"))
            ):
                [n] = sizes_of(self._traffic, 1)
                met.add(class_of(n))
                learning.append(self.kernel.regret(self._run(tuner, n), n))
                beside.catch_up()
            ran = [self._run(tuner, n) for n in self.stream]
            tuned = [tune["measured"] for tune in one.events.of("tune")]
            told = one.told("verdict")
            looked = sum(one["candidates"] - one["untried"] - one["held_back"] for one in told)
            return self._outcome(
                ran,
                _classes_of(tuner),
                sum(tuned) + looked,
                sum(one["explored"] for one in told),
                sum(tuned[1:]) + looked,
                learning,
            )

    def borrowing(self, warm_up: Sequence[int], *, nearest: bool = False) -> Outcome:
        """A warm-up is raced, and nothing is measured after it: then the stream. `nearest`: classes
        without a winner run that of the nearest class, whatever is expected of it."""
        likeliest = (lambda *known: None) if nearest else key_classes.likeliest
        patched = patch.object(key_classes, "likeliest", likeliest)
        with patched, self._process(serving=OnMiss.BORROW) as one:
            tuner = tunable()
            for n in warm_up:
                self._run(tuner, n)
            tuned = [tune["measured"] for tune in one.events.of("tune")]
            one.hook._cold_path._phases.serve()
            self.gpu.forget()
            ran = [self._run(tuner, n) for n in self.stream]
            found = len(one.events.of("tune"))
            return self._outcome(ran, found, sum(tuned), len(self.gpu.history) - len(ran))

    def full(self) -> Outcome:
        """Each class is raced as if it were the only one: by a process with an empty store."""
        winners: dict[str, int] = {}
        measured: list[int] = []
        samples = 0
        for n in self.stream:
            if class_of(n) in winners:
                continue
            with self._process() as one:
                self.gpu.forget()
                winners[class_of(n)] = self._run(tunable(), n)
                samples += len(self.gpu.history) - 1
                measured += [tune["measured"] for tune in one.events.of("tune")]
        ran = [winners[class_of(n)] for n in self.stream]
        return self._outcome(ran, len(winners), sum(measured), samples, sum(measured[1:]))

    def ideal(self) -> Outcome:
        """The truly best single candidate of each class, which measures nothing."""
        best = self.kernel.best_in_class(self.stream)
        ran = [best[class_of(n)] for n in self.stream]
        return self._outcome(ran, len(best), 0, 0)

    def _process(self, **policies: Any) -> contextlib.AbstractContextManager[Process]:
        return exploring(MemoryStore(), workers=0, policies=Policies(**policies))

    def _run(self, tuner: Any, n: int) -> int:
        """Launch; the candidate that ran."""
        tuner[lambda meta: (n,)](X, OUT)
        tag: int = self.gpu.history[-1][0].constants["TAG"]
        return tag

    def _outcome(self, ran: Sequence[int], *figures: Any) -> Outcome:
        regret = [self.kernel.regret(c, n) for c, n in zip(ran, self.stream, strict=True)]
        return Outcome(self.stream, regret, *figures)


@contextlib.contextmanager
def on_a_gpu(kernel: SizedKernel, *, launches: int) -> Iterator[Sized]:
    """The kernel on a simulated GPU, with the binaries of all candidates at hand."""

    def times(launch: Any) -> float:
        return kernel.times(launch.programs)[launch.constants["TAG"]]

    with SimulatedGPU(
        do_bench=True, noise=NOISE, seed=kernel.seed, times=times, history=1_000_000
    ) as gpu:
        for tag in range(CANDIDATES):
            sized[(1,)](X, OUT, TAG=tag)
        yield Sized(kernel, gpu, launches)


class Beside:
    """In the place of the thread beside launches: has its turns when it is told to, so that nothing
    depends on how threads are scheduled."""

    def __init__(self, explorations: Any) -> None:
        self._turn = explorations._turn
        self.is_pressed = False
        self._due: dict[ExploredKey, None] = {}

    def wake(self, key: ExploredKey) -> bool:
        self._due[key] = None
        return True

    def forget(self, key: ExploredKey) -> None:
        self._due.pop(key, None)

    def catch_up(self) -> None:
        """Do all that is due now."""
        while self._due:
            key = next(iter(self._due))
            del self._due[key]
            if self._turn(key) == 0.0:
                self._due[key] = None


def _all(tuner: Any, name: str) -> list[Any]:
    return [getattr(one, name) for one in tuner._tuneonce_state.classes.values()]


def _classes_of(tuner: Any) -> int:
    return sum(map(len, _all(tuner, "winners")))
