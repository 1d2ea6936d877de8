"""Compiles the candidates of one key ahead of their benchmarks, in other processes.

`Compiles.arrivals` yields candidates in the order in which they become ready to be launched. What
only this process can do (Python to TTIR) is done in between, so that the helpers always have
something to do and the caller measures while they do it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from typing import Any

from ..cpus import slots_directory, usable_cpus
from ..events import EventLog
from . import compat
from .calls import Cold
from .checks import Checks
from .compile_pool import Compiled, CompilePool, Crashed, NotCompiled
from .fronts import Fronts
from .helper_process import HelperLost
from .launchers import Launchers
from .pack import Packing
from .ship import NotShippable, Shipment, blocked, front, misplaced, ship
from .trials import NotAlike
from .turns import Turns

logger = logging.getLogger("tuneonce")

# So that a helper which is done has its next job already.
_AHEAD = 4
# With fewer compilers, code that candidates share is better generated once than by each of them,
# and a compiler that is busy with what is never asked for is missed.
_MANY = 4


class Workers:
    """The compile pool of a process, or its absence; knows what is on its way. Thread-safe.

    `fronts`, `packing`, `checks`, `launchers` and `turns` are what all who have something compiled
    share.
    `works_ahead`: work that can wait is being handed out (`tuneonce.triton.ahead`).
    """

    fronts: Fronts
    packing: Packing
    checks: Checks
    launchers: Launchers
    turns: Turns
    works_ahead: bool

    def __init__(self, pool: CompilePool | None, events: EventLog) -> None:
        self._pool = pool
        self._events = events
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def pool(self) -> CompilePool | None:
        """The pool, if compilations can leave this process now."""
        pool = self._pool
        return pool if pool is not None and pool.workers > 1 and blocked() is None else None

    def pending(self, hash: str) -> bool:
        """Whether this binary is being compiled."""
        return hash in self._on_its_way

    def compile(
        self, pool: CompilePool, shipment: Shipment, *, urgent: bool
    ) -> Future[Compiled] | None:
        """Have it compiled; None if its binary is there. Raises HelperLost."""
        with self._lock:
            future = self._on_its_way.get(shipment.hash)
            if future is None and shipment.job is not None:
                future = pool.submit(shipment.job, urgent=urgent)
                self._on_its_way[shipment.hash] = future
                new = True
            else:
                new = False
        if future is None:
            return None
        if new:
            future.add_done_callback(lambda done: self._arrived(shipment, done))
        elif urgent:
            pool.hurry(future)
        if shipment.check is not None:
            self.checks.owe(pool, shipment.check, urgent=urgent)
        elif urgent and not new:
            self.checks.hurry(shipment.src.fn.cache_key)
        return future

    def _arrived(self, shipment: Shipment, future: Future[Compiled]) -> None:
        self._forget(shipment, future)
        if not future.cancelled() and future.exception() is None:
            seconds = round(future.result().seconds, 6)
            self._events.emit("compile", kernel=shipment.src.name, seconds=seconds, ahead=True)

    def not_alike(self, shipment: Shipment, future: Future[Compiled]) -> None:
        """What was compiled on trial is not kept: from now on this process generates the code."""
        self.packing.stays(shipment.src.fn.cache_key)
        self._forget(shipment, future)

    def _forget(self, shipment: Shipment, future: Future[Compiled]) -> None:
        with self._lock:
            if self._on_its_way.get(shipment.hash) is future:
                del self._on_its_way[shipment.hash]

    def ship(self, cold: Cold, config: Any) -> Shipment | None:
        """What has to be compiled before `config` can be launched (`tuneonce.triton.ship`)."""
        return ship(cold, config, pending=self.pending, fronts=self.fronts, packing=self.packing)

    def front(self, src: Any, target: Any, options: Mapping[str, Any]) -> Shipment:
        """The same for a variant that nobody launches yet."""
        return front(
            src, target, options,
            pending=self.pending, fronts=self.fronts, packing=self.packing,
        )  # fmt: skip

    def lost(self, error: Exception) -> None:
        """The helper cannot be had: go on without, and say so once."""
        with self._lock:
            had, self._pool = self._pool, None
        if had is not None:
            self._events.emit("problem", what="compile_helper_lost", detail=str(error))
            logger.warning("tuneonce: no compile helper (%s); compiling in this process", error)

    def close(self) -> None:
        """End what was started."""
        if self._pool is not None:
            self._pool.close()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self.works_ahead = False
        self._on_its_way: dict[str, Future[Compiled]] = {}
        self.fronts, self.launchers, self.turns = Fronts(), Launchers(), Turns()
        self.packing = Packing(on=self._pool is not None and self._pool.workers >= _MANY)
        self.checks = Checks(self.fronts, self.packing, self.turns)


def build_workers(wanted: int | None, events: EventLog) -> Workers:
    """Workers as the settings want them; nothing is started before the first cold key."""
    count = usable_cpus() if wanted is None else wanted
    pool = CompilePool(workers=count, slots=slots_directory) if count > 1 else None
    return Workers(pool, events)


class Compiles:
    """One key's candidates on their way through the compiler.

    `ship(position)` makes a shipment, None if nothing has to be compiled; what it raises is left
    for the launch in this process to raise again. `work(position)` says which take longest to
    compile: those go first, since the last one is waited for. `spare` are those that may be asked
    for later, the likeliest first: compilers that would be idle begin with them. `failures` holds
    candidates that the compiler rejected as a benchmark would, and those on which it crashed: they
    must not be launched. `seconds` holds what each compilation took where it was done.
    """

    def __init__(
        self,
        workers: Workers,
        ship: Callable[[int], Shipment | None],
        *,
        work: Callable[[int], tuple[float, ...]],
        on_compiled: Callable[[int, float], None],
        spare: Iterable[int] = (),
    ) -> None:
        self._workers = workers
        self._spare = deque(spare)
        self._begun: dict[int, tuple[Future[Compiled], Shipment]] = {}  # of the spare ones
        self._ship = ship
        self._work = work
        self._waiting = deque[int]()
        self._launchers: set[threading.Event] = set()
        self._on_compiled = on_compiled
        # Several candidates may share a binary: what they differ in was constant-folded away.
        self._running: dict[Future[Compiled], tuple[Shipment, list[int]]] = {}
        self._passed_over = {error.__name__ for error in compat.passed_over()}
        self.failures: dict[int, str] = {}
        self.seconds: dict[int, float] = {}
        self.front_s = 0.0
        self.wait_s = 0.0

    def arrivals(self, wave: Sequence[int]) -> Iterator[int]:
        """The candidates of `wave` as they become ready, those that failed among them."""
        pool = self._workers.pool()
        if pool is None or (len(wave) < 2 and not self._begun):
            yield from wave
            return
        self._spare = deque(position for position in self._spare if position not in wave)
        waiting = self._waiting = deque(sorted(wave, key=self._work, reverse=True))
        ready = deque[int]()
        try:
            while waiting or self._running or ready:
                feeding = bool(waiting) and len(self._running) < pool.workers + _AHEAD
                if feeding:
                    position = waiting.popleft()
                    if not self._send(pool, position):
                        ready.append(position)
                elif ready and self._launchers:
                    with self._wait():
                        self._launchers.pop().wait()
                elif ready:
                    yield ready.popleft()
                elif self._running and self._may_begin(pool):
                    position = self._spare.popleft()
                    if (begun := self._hand_out(pool, position, urgent=False)) is not None:
                        self._begun[position] = begun
                elif self._running:
                    with self._wait():
                        wait(self._running, return_when=FIRST_COMPLETED)
                ready.extend(self._settled())
        finally:
            self.close()

    def close(self) -> None:
        """Drop what was asked for and is not compiled yet. What was begun besides is finished."""
        pool = self._workers.pool()
        if self._running and pool is not None:
            pool.drop(self._running)
        self._running = {}

    def _may_begin(self, pool: CompilePool) -> bool:
        """Whether a compiler would be idle otherwise."""
        if not self._spare or pool.workers < _MANY or self._workers.works_ahead:
            return False
        return self._workers.pool() is pool and pool.owed() < pool.workers

    @contextmanager
    def _wait(self) -> Iterator[None]:
        began = time.perf_counter()
        with self._workers.turns.away():
            yield
        self.wait_s += time.perf_counter() - began

    def _send(self, pool: CompilePool, position: int) -> bool:
        """Have it compiled now. False: there is nothing to wait for."""
        if self._workers.pool() is not pool:  # it was lost meanwhile
            return False
        handed_out = self._begun.pop(position, None)
        if handed_out is not None:
            pool.hurry(handed_out[0])
        else:
            handed_out = self._hand_out(pool, position, urgent=True)
        if handed_out is None:
            return False
        future, shipment = handed_out
        self._running.setdefault(future, (shipment, []))[1].append(position)
        return True

    def _hand_out(
        self, pool: CompilePool, position: int, *, urgent: bool
    ) -> tuple[Future[Compiled], Shipment] | None:
        """None: it is there already, or is left for the launch to compile."""
        began = time.perf_counter()
        try:
            shipment = self._ship(position)
            if shipment is None:
                return None
            launcher = self._workers.launchers.begin(shipment.src)
            if launcher is not None and not launcher.is_set():
                self._launchers.add(launcher)
            future = self._workers.compile(pool, shipment, urgent=urgent)
            return None if future is None else (future, shipment)
        except HelperLost as error:
            self._workers.lost(error)
        except NotShippable:
            pass
        except Exception:  # the launch raises it again, where the program expects it
            logger.debug("tuneonce: a candidate could not be compiled ahead", exc_info=True)
        finally:
            self.front_s += time.perf_counter() - began
        return None

    def _settled(self) -> Iterator[int]:
        for future in [future for future in self._running if future.done()]:
            shipment, positions = self._running.pop(future)
            try:
                compiled = _collect(shipment, future, self._workers)
                for position in positions:
                    self.seconds[position] = compiled.seconds / len(positions)
                self._on_compiled(positions[0], compiled.seconds)
            except Crashed as error:
                self.failures.update(dict.fromkeys(positions, str(error)))
            except NotCompiled as error:
                if error.kind == NotAlike.__name__:
                    self._waiting.extendleft(reversed(positions))
                    continue
                if error.kind in self._passed_over:
                    text = f"{error.kind}: {error}"
                    self.failures.update(dict.fromkeys(positions, text))
                else:
                    logger.debug("tuneonce: compiled in this process (%s: %s)", error.kind, error)
            except CancelledError:  # by a thread that had asked for it first, and ended in an error
                pass
            except HelperLost as error:
                self._workers.lost(error)
            yield from positions


def _collect(shipment: Shipment, future: Future[Compiled], workers: Workers) -> Compiled:
    """Wait for a compilation. Raises its failure; HelperLost, too, if Triton finds no binary."""
    try:
        compiled = future.result()
    except NotCompiled as error:
        if error.kind == NotAlike.__name__:
            workers.not_alike(shipment, future)
        raise
    if (reason := misplaced(shipment, compiled.hash)) is not None:
        raise HelperLost(reason)
    return compiled


def await_binary(cold: Cold, config: Any, workers: Workers) -> None:
    """Let the helpers finish what they have begun for a candidate, or do it, before its launch."""
    pool = workers.pool()
    if pool is None:
        return
    try:
        with workers.turns.tuning():
            shipment = workers.ship(cold, config)
        if shipment is None:
            return
        launcher = workers.launchers.begin(shipment.src)
        future = workers.compile(pool, shipment, urgent=True)
        if future is not None:
            _collect(shipment, future, workers)
        if launcher is not None:
            launcher.wait()
    except HelperLost as error:
        workers.lost(error)
    except Exception:  # the launch will say what is wrong
        logger.debug("tuneonce: a winner could not be compiled ahead", exc_info=True)
