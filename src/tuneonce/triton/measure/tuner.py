"""Measures the candidates of one key, except those that are known already, and names the winner.

Candidates are compiled ahead, in other processes, and race (`tuning.race`): what stock Triton
does in a long benchmark of each, one after the other, is done in short rounds that drop what is
clearly slower. A benchmark function of the kernel's author, of the program or of a driver that has
its own is not replaced: it measures every candidate, in the list's order, as in stock Triton. Where
other ranks may wait in it, it sees those too that are known not to compile.

What stock does and is kept: ``_bench`` decides what is launched (hooks, ``reset_to_zero``,
``restore_value``), what it passes over is a candidate that cannot run, what it lets through ends
the tuning (but for errors of the compiler, while another candidate runs), ``bench_time`` and
``configs_timings`` are on the autotuner at the end. Each result is handed out the moment it exists.
"""

from __future__ import annotations

import builtins
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ...model.records import Measurement
from ...tuning.priors import Prior
from ...tuning.race import Summary, race
from ..compile.arrivals import Compiles
from ..compile.compile_errors import is_compile_error
from ..compile.listener import compile_seconds
from ..compile.variants import Variant
from ..compile.workers import Workers
from ..kernel.call import Cold
from ..kernel.candidates import work_per_warp
from .device_timer import Device
from .result import Broken, Taken
from .runner import Track, timing_for

OnTaken = Callable[[int, Taken], None]
Launching = Callable[[int], AbstractContextManager[None]]
_DID_NOT_RUN = (math.inf, math.inf, math.inf)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the store knows, by position: measurements, and what they let expect of the others."""

    measurements: Mapping[int, Measurement] = field(default_factory=dict)
    prior: Prior[int] = field(default_factory=Prior)


@dataclass
class Tuned:
    """What came of it.

    `spent` says where the seconds went, for the events; `variants` are what candidates were
    compiled with, by position, of those of which that is known. `uncompilable` says why the
    compiler failed on a candidate where stock would have raised its error.
    """

    winner: Any
    timings: dict[Any, Any]
    measured: int = 0
    spent: dict[str, float] = field(default_factory=dict)
    variants: dict[int, Variant] = field(default_factory=dict)
    uncompilable: dict[int, str] = field(default_factory=dict)


def tune(
    cold: Cold,
    pruned: Sequence[Any],
    known: Known,
    workers: Workers,
    *,
    seed: int,
    on_taken: OnTaken,
    on_compiled: Callable[[int, float], None],
    launching: Launching = lambda position: nullcontext(),
) -> Tuned:
    """Tune one key; the caller holds the autotuner's lock. Raises what ``_bench`` raises.

    `on_taken(position, taken)` hears of every result, of some twice: after a first look and when
    they are settled. `on_compiled(position, seconds)` of every compilation in another process.
    The first launch of each is made within `launching(position)`.
    """
    began = time.time()
    tuning = _Tuning(cold, pruned, known, workers, seed, on_taken, on_compiled, launching)
    with closing(tuning), workers.turns.tuning():
        winner = tuning.run()
    cold.autotuner.bench_time = time.time() - began
    return Tuned(
        winner,
        tuning.timings(),
        tuning.measured,
        tuning.spent(),
        tuning.variants(),
        tuning.uncompilable,
    )


class Shipper:
    """Makes shipments of one key's candidates for `Compiles`; `variants` are what they are made of.

    Closed, it knows nothing of the call any more: whoever still holds it, such as the traceback of
    a compilation that failed, holds none of the caller's tensors.
    """

    def __init__(self, workers: Workers, cold: Cold, pruned: Sequence[Any]) -> None:
        self._workers = workers
        self._cold: Cold | None = cold
        self._pruned = pruned
        self.variants: dict[int, Variant] = {}

    def __call__(self, position: int) -> Any:
        if self._cold is None:
            return None
        shipment = self._workers.ship(self._cold, self._pruned[position])
        if shipment is not None and shipment.variant is not None:
            self.variants[position] = shipment.variant
        return shipment

    def close(self) -> None:
        self._cold = None


class _Tuning:
    def __init__(
        self,
        cold: Cold,
        pruned: Sequence[Any],
        known: Known,
        workers: Workers,
        seed: int,
        on_taken: OnTaken,
        on_compiled: Callable[[int, float], None],
        launching: Launching,
    ) -> None:
        self._cold, self._pruned, self._known, self._seed = cold, pruned, known, seed
        self._on_taken, self._launching = on_taken, launching
        self.uncompilable: dict[int, str] = {}
        self._shipper = Shipper(workers, cold, pruned)
        self._arrivals: list[Any] = []
        self._compiles = Compiles(
            workers,
            self._shipper,
            work=lambda position: (
                known.prior.compile_s.get(position, math.inf),
                work_per_warp(pruned[position]),
            ),
            on_compiled=on_compiled,
            spare=sorted(
                (p for p in distinct(pruned).values() if p not in known.measurements),
                key=lambda position: known.prior.times.get(position, 0.0),
            ),
        )
        self._results: dict[int, Any] = {
            position: measurement.as_timing()
            for position, measurement in known.measurements.items()
        }
        self._here: dict[int, float] = {}  # compile seconds in this process
        self._spent: dict[int, float] = {}
        self._load_s = self._sample_s = 0.0
        self.measured = 0

    def run(self) -> Any:
        timing = timing_for(self._cold, self._pruned)
        return self._each() if timing is None else self._race(*timing)

    def close(self) -> None:
        """Nobody waits any more for what is not compiled yet."""
        while self._arrivals:
            self._arrivals.pop().close()
        self._compiles.close()
        self._shipper.close()

    def _arriving(self, wave: Sequence[int]) -> Iterator[int]:
        """As `Compiles.arrivals`, until this tuning is closed, whatever ends it."""
        arrivals = self._compiles.arrivals(wave)
        self._arrivals.append(arrivals)
        return arrivals

    def timings(self) -> dict[Any, Any]:
        """``configs_timings``: of all that were measured, in the list's order."""
        return {self._pruned[i]: self._results[i] for i in sorted(self._results)}

    def variants(self) -> dict[int, Variant]:
        """What candidates were compiled with, by position."""
        return self._shipper.variants

    def spent(self) -> dict[str, float]:
        """Seconds: Python to TTIR, waiting for compilers, loading, measuring, compiling here."""
        return {
            "front_s": self._compiles.front_s,
            "wait_s": self._compiles.wait_s,
            "load_s": self._load_s,
            "sample_s": self._sample_s,
            "compile_s": sum(self._here.values()) + sum(self._compiles.seconds.values()),
        }

    # -- by somebody's benchmark -------------------------------------------------------------

    def _each(self) -> Any:
        cold, timings = self._cold, self._results
        unknown = [position for position in range(len(self._pruned)) if position not in timings]
        arrivals = self._arriving(unknown)
        arrived: set[int] = set()
        first: Exception | None = None
        for position in unknown:
            while position not in arrived:
                arrived.add(next(arrivals))
            # Again for each: a ``warmup`` of the same kernel in another thread resets it.
            cold.autotuner.nargs = cold.nargs
            failed = self._compiles.failures.get(position)
            if failed is not None and not cold.together:
                timings[position] = list(_DID_NOT_RUN)
                self._taken(position, Taken(timings[position], failed=failed))
                continue
            with self._clocked(position), self._launching(position):
                try:
                    result = cold.autotuner._bench(
                        *cold.args, config=self._pruned[position], **cold.kwargs
                    )
                except Exception as error:
                    self._clock_so_far(position)
                    if cold.together or not is_compile_error(error):
                        self._taken(position, Taken(Broken(error)))
                        raise
                    first = first or error
                    self.uncompilable[position] = f"{type(error).__name__}: {error}"
                    continue
                self._clock_so_far(position)
            timings[position] = result
            self._taken(position, Taken(result))
        if first is not None and not any(map(_ran, timings.values())):
            try:
                raise first
            finally:
                del first  # a frame in its own traceback that names it is a cycle
        for position, reason in self.uncompilable.items():
            timings[position] = list(_DID_NOT_RUN)
            self._taken(position, Taken(timings[position], failed=reason))
        found = self.timings()
        mixed = bool(self._known.measurements) or first is not None
        return builtins.min(
            found, key=(lambda config: _comparable(found[config])) if mixed else found.__getitem__
        )

    # -- by a race ---------------------------------------------------------------------------

    def _race(self, device: Device, calls: Sequence[Any]) -> Any:
        positions = sorted(distinct(self._pruned).values())
        known = self._known.measurements
        failures = self._compiles.failures
        track = Track(
            device,
            calls,
            failures=failures,
            clock=self._clocked,
            on_failure=self._failed,
            on_error=lambda position, error: self._taken(position, Taken(Broken(error))),
            launching=self._launching,
        )
        result = race(
            [p for p in positions if p not in known or known[p].failed is None],
            self._arriving,
            track,
            known={p: m.times[0] for p, m in known.items() if m.failed is None},
            prior=self._known.prior.times,
            compile_s=self._known.prior.compile_s,
            seed=self._seed,
            on_summary=self._summed,
        )
        for position in sorted(result.failed - track.told):
            # If none had the memory or could be compiled, that says nothing about any of them.
            kept = result.winner is not None or position not in track.doubtful
            self._failed(position, kept=kept)
        self.uncompilable = {p: failures[p] for p in sorted(track.uncompilable)}
        if result.winner is None:
            for position in self.uncompilable:
                calls[position]()  # as stock: it raises what it has raised
            return self._pruned[0]  # as stock: its launch says what is wrong
        return self._pruned[result.winner]

    def _summed(self, position: int, summary: Summary, settled: bool) -> None:
        times = [summary.median_ms, summary.p20_ms, summary.p80_ms]
        self._results[position] = times
        self._taken(position, Taken(times, samples=summary.samples, settled=settled))

    def _failed(self, position: int, *, kept: bool = True) -> None:
        self._results[position] = list(_DID_NOT_RUN)
        if kept:
            reason = self._compiles.failures.get(position)
            self._taken(position, Taken(list(_DID_NOT_RUN), failed=reason))

    # -- for both ----------------------------------------------------------------------------

    def _taken(self, position: int, taken: Taken) -> None:
        taken.seconds = self._spent.get(position, 0.0)
        taken.compile_s = self._here.get(position, 0.0) + self._compiles.seconds.get(position, 0.0)
        taken.seconds += self._compiles.seconds.get(position, 0.0)
        self.measured += taken.settled
        self._on_taken(position, taken)

    @contextmanager
    def _clocked(self, *positions: int, loading: bool = False) -> Iterator[None]:
        """The seconds of what is done inside belong to these candidates, in equal parts."""
        self._began, self._compiled = time.perf_counter(), compile_seconds()
        self._loading = loading
        try:
            yield
        finally:
            self._clock_so_far(*positions)

    def _clock_so_far(self, *positions: int) -> None:
        now, compiled = time.perf_counter(), compile_seconds()
        spent, here = now - self._began, compiled - self._compiled
        self._began, self._compiled = now, compiled
        if self._loading:
            self._load_s += spent - here
        else:
            self._sample_s += spent - here
        for position in positions:
            self._spent[position] = self._spent.get(position, 0.0) + spent / len(positions)
            self._here[position] = self._here.get(position, 0.0) + here / len(positions)


def _ran(result: Any) -> bool:
    """Whether a benchmark's result is a time."""
    return _comparable(result)[:1] != (math.inf,)


def _comparable(result: Any) -> tuple[Any, ...]:
    """Results of an earlier process may be lists where this one's benchmark returns numbers."""
    return tuple(result) if isinstance(result, (list, tuple)) else (result,)


def distinct(pruned: Sequence[Any]) -> dict[Any, int]:
    """Positions of candidates; of several equal ones the first stands for all, as in Triton."""
    return {config: position for position, config in reversed([*enumerate(pruned)])}


def reset(cold: Cold, winner: Any) -> None:
    """Clear what the measured launches have left in the caller's buffers, as stock Triton does.

    Runs the autotuner's pre-hook, which is the program's and may raise: after the winner is kept.
    """
    full_nargs = {**cold.nargs, **cold.kwargs, **winner.all_kwargs()}
    cold.autotuner.pre_hook(full_nargs, reset_only=True)
