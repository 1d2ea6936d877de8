"""Measures the candidates of one key, except those that are known already, and names the winner.

Candidates are compiled ahead, in other processes, and race (`tuning.race`): what stock Triton
does in a long benchmark of each, one after the other, is done in short rounds that drop what is
clearly slower. A benchmark function of the kernel's author, of the program or of a driver that has
its own is not replaced: it measures every candidate, in the list's order, as in stock Triton. Where
other ranks may wait in it, it sees those too that are known not to compile.

Where the program asks for it, what candidates write is looked at in their first launches, and who
is wrong by that, or not of the first candidate's bits, does not win (`looking`).

What stock does and is kept: ``_bench`` decides what is launched (hooks, ``reset_to_zero``,
``restore_value``), what it passes over is a candidate that cannot run, what it lets through ends
the tuning (but for errors of the compiler, while another candidate runs), ``bench_time`` and
``configs_timings`` are on the autotuner at the end. Each result is handed out the moment it exists.
"""

from __future__ import annotations

import builtins
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

from ...model.records import WRONG
from ...tuning.race import Summary, race
from ..compile.compilations import Compilations
from ..compile.compile_errors import is_compile_error
from ..compile.listener import compile_seconds, loading_seconds, within
from ..compile.workers import Workers
from ..kernel.session import Session
from ..seams import autotuners, benchmarks, drivers
from .device_timer import Call, DeviceTimer, out_of_memory
from .looking import Looked, Looking
from .result import Broken, Result
from .runner import Runner, timing_for

OnResult = Callable[[int, Result], None]
Launching = Callable[[int], AbstractContextManager[None]]
_DID_NOT_RUN = (math.inf, math.inf, math.inf)


def tune(
    session: Session,
    workers: Workers,
    *,
    on_result: OnResult,
    on_compiled: Callable[[int, float], None],
    launching: Launching = lambda position: nullcontext(),
    advance: Callable[[], None] = lambda: None,
    on_look_error: Callable[[Exception], None] = lambda error: None,
) -> None:
    """Tune one key; the caller holds the autotuner's lock. Raises what ``_bench`` raises.

    `on_result(position, result)` hears of every result, of some twice: after a first look and when
    they are settled. `on_compiled(position, seconds)` of every compilation in another process.
    The first launch of each is made within `launching(position)`. `advance()` is called after each
    round, load and benchmark. `on_look_error(error)` hears of errors of ours in looking at outputs.
    """
    began = time.time()
    looking = partial(Looking, session, on_error=on_look_error)
    tuning = _Tuning(session, workers, on_result, on_compiled, launching, advance, looking)
    try:
        with closing(tuning), workers.turns.tuning(), within("tune"):
            session.winner = tuning.run()
    except BaseException:  # no event will tell of this tuning
        workers.tell_wait(session.label, time.time() - began)
        raise
    autotuners.set_tuning_seconds(session.autotuner, time.time() - began)
    session.timings = tuning.timings()
    session.measured = tuning.measured
    session.spent = tuning.spent()
    session.uncompilable = tuning.uncompilable
    session.looked = tuning.looked


class _Tuning:
    def __init__(
        self,
        session: Session,
        workers: Workers,
        on_result: OnResult,
        on_compiled: Callable[[int, float], None],
        launching: Launching,
        advance: Callable[[], None],
        look: Callable[..., Looking],
    ) -> None:
        self._advance = advance
        self._look = look  # made when it is known how the device is waited for
        self._looking: Looking | None = None
        self.looked: Looked | None = None
        self._session, self._candidates = session, session.candidates
        self._known = session.known
        self._on_result, self._launching = on_result, launching
        self.uncompilable: dict[int, str] = {}
        self._arrivals: list[Any] = []
        self._compilations = Compilations(
            session,
            workers,
            on_compiled=on_compiled,
            speculative=sorted(
                (p for p in distinct(session.candidates).values() if p not in self._known),
                key=lambda position: session.prior.times.get(position, 0.0),
            ),
        )
        self._results: dict[int, Any] = {i: known.as_timing() for i, known in self._known.items()}
        self._here: dict[int, float] = {}  # compile seconds in this process
        self._spent: dict[int, float] = {}
        self._load_s = self._sample_s = 0.0
        self._settled: set[int] = set()

    @property
    def measured(self) -> int:
        """How many were measured here."""
        return len(self._settled)

    @property
    def _look_s(self) -> float:
        return 0.0 if self._looking is None else self._looking.seconds

    def run(self) -> Any:
        timing = timing_for(self._session)
        if timing is None:
            self._looking = self._look(synchronize=_synchronize)
            return self._each(self._looking)
        self._looking = self._look(synchronize=timing[0].synchronize)
        return self._race(*timing, self._looking)

    def close(self) -> None:
        """Drop what is not compiled yet, and the memory that looking takes."""
        if self._looking is not None:
            self._looking.close()
        while self._arrivals:
            self._arrivals.pop().close()
        self._compilations.close()

    def _arriving(self, wave: Sequence[int]) -> Iterator[int]:
        """As `Compilations.arrivals`, until this tuning is closed, whatever ends it."""
        arrivals = self._compilations.arrivals(wave)
        self._arrivals.append(arrivals)
        return arrivals

    def timings(self) -> dict[Any, Any]:
        """``configs_timings``: of all that were measured, in the list's order."""
        return {self._candidates[i]: self._results[i] for i in sorted(self._results)}

    def spent(self) -> dict[str, float]:
        """Seconds: Python to TTIR, waiting for compilers, compiling here, loading, measuring.

        These follow each other and are parts of the whole. `compile_s` is not: that of all
        compilers together, most of which run beside it.
        """
        here = sum(self._here.values())
        return {
            "front_s": self._compilations.front_s,
            "wait_s": self._compilations.wait_s,
            "here_s": here,
            "load_s": max(0.0, self._load_s),
            "sample_s": max(0.0, self._sample_s),
            "compile_s": here + sum(self._compilations.seconds.values()),
            **({} if self.looked is None else {"look_s": self._look_s}),
        }

    # -- by a benchmark function of the program's -----------------------------------------------

    def _each(self, looking: Looking) -> Any:
        session, timings = self._session, self._results
        unknown = [position for position in range(len(self._candidates)) if position not in timings]
        arrivals = self._arriving(unknown)
        arrived: set[int] = set()
        first: Exception | None = None
        for position in unknown:
            while position not in arrived:
                arrived.add(next(arrivals))
            # Again for each: a ``warmup`` of the same kernel in another thread resets it.
            session.autotuner.nargs = session.nargs
            failed = self._compilations.failures.get(position)
            if failed is not None and not session.together:
                timings[position] = list(_DID_NOT_RUN)
                self._tell(position, Result(timings[position], failed=failed))
                continue
            with self._clocked(position), self._launching(position):
                try:
                    result = self._benchmark(position, looking)
                except Exception as error:
                    self._clock_so_far(position)
                    if session.together or not is_compile_error(error):
                        self._tell(position, Result(Broken(error)))
                        raise
                    first = first or error
                    self.uncompilable[position] = f"{type(error).__name__}: {error}"
                    continue
                self._clock_so_far(position)
            timings[position] = result
            self._tell(position, Result(result))
        if first is not None and not any(map(_ran, timings.values())):
            try:
                raise first
            finally:
                del first  # a frame in its own traceback that names it is a cycle
        for position, reason in self.uncompilable.items():
            timings[position] = list(_DID_NOT_RUN)
            self._tell(position, Result(timings[position], failed=reason))
        ran = [position for position in sorted(timings) if _ran(timings[position])]
        admitted = looking.admitted(ran)
        self._leave_out_wrong(looking, ran)
        found = self.timings()
        mixed = bool(self._known) or first is not None
        if len(admitted) < len(ran):
            mixed, found = True, {self._candidates[i]: timings[i] for i in sorted(admitted)}
        return builtins.min(
            found, key=(lambda config: _comparable(found[config])) if mixed else found.__getitem__
        )

    def _benchmark(self, position: int, looking: Looking) -> Any:
        """A candidate's times, after a look at what it writes."""
        session, config = self._session, self._candidates[position]
        bench = partial(autotuners.bench, session.autotuner, session.args, config, session.kwargs)
        stock = benchmarks.function(session.autotuner) if looking.is_on else None
        if stock is None:
            return bench()

        def look_and_measure(call: Call, *args: Any, **kwargs: Any) -> Any:
            return stock(_after(_look(position, call, looking), call), *args, **kwargs)

        with benchmarks.replaced(session.autotuner, look_and_measure):
            return bench()

    # -- by a race ---------------------------------------------------------------------------

    def _race(self, timer: DeviceTimer, calls: Sequence[Any], looking: Looking) -> Any:
        positions = sorted(distinct(self._candidates).values())
        known, prior = self._known, self._session.prior
        failures = self._compilations.failures
        runner = Runner(
            timer,
            calls,
            failures=failures,
            clock=self._clocked,
            on_failure=self._failed,
            on_error=lambda position, error: self._tell(position, Result(Broken(error))),
            launching=self._launching,
            first=looking.first,
        )
        result = race(
            [p for p in positions if p not in known or known[p].failed is None],
            self._arriving,
            runner,
            known={p: m.times[0] for p, m in known.items() if m.failed is None},
            prior=prior.times,
            prior_error=None if prior.between is None else prior.between.error,
            probes=prior.between is None or not prior.between.on_both_sides,
            compile_s=prior.compile_s,
            seed=self._session.seed,
            on_summary=self._summed,
            admitted=looking.admitted,
            weighed=looking.weighed,
        )
        for position in sorted(result.failed - runner.reported):
            # If none had the memory or could be compiled, that says nothing about any of them.
            kept = result.winner is not None or position not in runner.doubtful
            self._failed(position, kept=kept)
        self._leave_out_wrong(looking, sorted(result.summaries))
        self.uncompilable = {p: failures[p] for p in sorted(runner.uncompilable)}
        if result.winner is None:
            for position in self.uncompilable:
                calls[position]()  # as stock: it raises what it has raised
            return self._candidates[0]  # as stock: its launch says what is wrong
        return self._candidates[result.winner]

    def _summed(self, position: int, summary: Summary, settled: bool) -> None:
        times = [summary.median_ms, summary.p20_ms, summary.p80_ms]
        self._results[position] = times
        self._tell(position, Result(times, samples=summary.samples, settled=settled))

    def _failed(self, position: int, *, kept: bool = True) -> None:
        self._results[position] = list(_DID_NOT_RUN)
        if kept:
            reason = self._compilations.failures.get(position)
            self._tell(position, Result(list(_DID_NOT_RUN), failed=reason))

    # -- for both ----------------------------------------------------------------------------

    def _leave_out_wrong(self, looking: Looking, ran: Sequence[int]) -> None:
        """Those that are far from the rest count as failed: no start tries them again."""
        self.looked = looking.looked(ran)
        if self.looked is None:
            return
        told = self.looked.conclusion
        for position in sorted(told.wrong):
            self._results[position] = list(_DID_NOT_RUN)
            apart = f"{told.distances[position]:.3g}"
            reason = f"{WRONG}its outputs are {apart} from what the others write"
            self._tell(position, Result(list(_DID_NOT_RUN), failed=reason))

    def _tell(self, position: int, result: Result) -> None:
        elsewhere = self._compilations.seconds.get(position, 0.0)
        result.seconds = self._spent.get(position, 0.0) + elsewhere
        result.compile_s = self._here.get(position, 0.0) + elsewhere
        if result.settled:
            self._settled.add(position)
        self._on_result(position, result)

    @contextmanager
    def _clocked(self, *positions: int, loading: bool = False) -> Iterator[None]:
        """The seconds of what is done inside belong to these candidates, in equal parts."""
        self._began, self._compiled = time.perf_counter(), compile_seconds()
        self._loaded, self._loading = loading_seconds(), loading
        self._looked_s = self._look_s
        try:
            yield
        finally:
            self._clock_so_far(*positions)
            self._advance()

    def _clock_so_far(self, *positions: int) -> None:
        now, compiled, loaded = time.perf_counter(), compile_seconds(), loading_seconds()
        spent, here = now - self._began, compiled - self._compiled
        look_s = self._look_s - self._looked_s
        # With its first launch, or what a benchmark function loads before it measures.
        load_s = spent - here - look_s if self._loading else loaded - self._loaded
        self._began, self._compiled, self._loaded = now, compiled, loaded
        self._looked_s += look_s
        self._load_s += load_s
        self._sample_s += spent - here - look_s - load_s
        for position in positions:
            self._spent[position] = self._spent.get(position, 0.0) + spent / len(positions)
            self._here[position] = self._here.get(position, 0.0) + here / len(positions)


def _synchronize() -> None:
    """Wait for the device, where there is one."""
    with suppress(Exception):  # an interpreter has none
        drivers.device_interface(drivers.active()).synchronize()


def _ran(result: Any) -> bool:
    """Whether a benchmark's result is a time."""
    return _comparable(result)[:1] != (math.inf,)


def _comparable(result: Any) -> tuple[Any, ...]:
    """Results of an earlier process may be lists where this one's benchmark returns numbers."""
    return tuple(result) if isinstance(result, (list, tuple)) else (result,)


def distinct(candidates: Sequence[Any]) -> dict[Any, int]:
    """Positions of candidates; of several equal ones the first stands for all, as in Triton."""
    return {config: position for position, config in reversed([*enumerate(candidates)])}


def reset(session: Session) -> None:
    """Clear what the measured launches have left in the caller's buffers, as stock Triton does.

    Runs the autotuner's pre-hook, which is the program's and may raise: after the winner is kept.
    """
    full_nargs = {**session.nargs, **session.kwargs, **session.winner.all_kwargs()}
    autotuners.reset(session.autotuner, full_nargs)


def _look(position: int, call: Call, looking: Looking) -> list[Exception]:
    """Launch a candidate to look at it; what that raised, if anything."""
    try:
        looking.first(position, call)
    except Exception as error:
        return [] if out_of_memory(error) else [error]  # our memory is given back by now
    return []


def _after(raised: list[Exception], call: Call) -> Call:
    """The launch as it would be if that had not been looked at: it raises first what that raised.

    A hook of Triton's that refuses new variants raises once for each, and is to be heard where it
    would be: the benchmark function may handle it.
    """
    if not raised:
        return call

    def again() -> Any:
        if raised:
            raise raised.pop()
        return call()

    return again
