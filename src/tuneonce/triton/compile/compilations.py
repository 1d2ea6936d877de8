"""Compiles the candidates of one session ahead of their benchmarks, in other processes.

`Compilations.arrivals` yields candidates in the order in which they become ready to be launched.
What only this process can do (Python to TTIR) is done in between, so that the helpers always have
something to do and the caller measures while they do it.
"""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..kernel.candidates import work_per_warp
from ..kernel.session import Session
from ..seams import errors
from .helper_process import HelperLost
from .pool import Compiled, CompilePool, Crashed, NotCompiled
from .shipment import NotShippable, Presence, Shipment, presence_of
from .staging import adopt
from .worker.compile_job import OtherTriton
from .workers import MANY, Compilation, Workers

logger = logging.getLogger("tuneonce")

# Who may have to stop is asked so often, in seconds. Arbitrary.
_ASKED_EVERY_S = 0.02

# So that a helper which is done has its next job already.
_AHEAD = 4


class Compilations:
    """The candidates of one session on their way through the compiler.

    Those that take longest to compile go first, since the last one is waited for. `speculative` are
    those that a race may ask for later, the likeliest first: compilers that would be idle begin
    with them. `stop()` is asked now and then, and ends it when it is true.
    `on_compiled(position, seconds)` hears of each compilation. `failures` holds
    candidates that the compiler rejected as a benchmark would, and those on which it crashed: they
    must not be launched. `seconds` holds what each compilation took where it was done.

    Once closed it holds nothing of the call: if the program keeps the traceback of a failed
    compilation, that must not keep the caller's tensors alive.
    """

    def __init__(
        self,
        session: Session,
        workers: Workers,
        *,
        on_compiled: Callable[[int, float], None] = lambda position, seconds: None,
        speculative: Iterable[int] = (),
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._session: Session | None = session
        self._took = session.prior.compile_s
        self._candidates = session.candidates
        self._workers = workers
        self._pool: CompilePool | None = None
        self._speculative = deque(speculative)
        self._begun: dict[int, Requested] = {}  # of the speculative ones
        self._waiting = deque[int]()
        self._on_compiled = on_compiled
        self._stop = stop
        # Several candidates may share a binary: what they differ in was constant-folded away.
        self._running: dict[Future[Compiled], tuple[Requested, list[int]]] = {}
        self._passed_over = {error.__name__ for error in errors.passed_over()}
        self.failures: dict[int, str] = {}
        self.seconds: dict[int, float] = {}
        self.front_s = 0.0
        self.wait_s = 0.0

    def arrivals(self, wave: Sequence[int]) -> Generator[int, None, None]:
        """The candidates of `wave` as they become ready, those that failed among them."""
        pool = self._pool = self._workers.pool()
        if pool is None or (len(wave) < 2 and not self._begun):
            yield from wave
            return
        self._speculative = deque(p for p in self._speculative if p not in wave)
        waiting = self._waiting = deque(sorted(wave, key=self._expected_work, reverse=True))
        ready: list[int] = []  # handed out in the list's order: the first may end the tuning
        try:
            while (waiting or self._running or ready) and not (self._stop and self._stop()):
                feeding = bool(waiting) and len(self._running) < pool.workers + _AHEAD
                if feeding:
                    position = waiting.popleft()
                    if not self._send(pool, position):
                        heapq.heappush(ready, position)
                elif ready:
                    yield heapq.heappop(ready)
                elif self._running and self._may_begin(pool):
                    position = self._speculative.popleft()
                    if (begun := self._hand_out(pool, position, urgent=False)) is not None:
                        self._begun[position] = begun
                elif self._running:
                    with self._wait():
                        pause = None if self._stop is None else _ASKED_EVERY_S
                        wait(self._running, pause, return_when=FIRST_COMPLETED)
                for position in self._settled():
                    heapq.heappush(ready, position)
        finally:
            self._drop()

    def close(self) -> None:
        """Drop what is not compiled yet, and forget the call."""
        self._drop()
        self._session = None

    def _drop(self) -> None:
        """Drop what was asked for and is not compiled yet. What was begun besides is finished."""
        running, self._running = self._running, {}
        if self._pool is not None:
            self._pool.drop(running)

    def _expected_work(self, position: int) -> tuple[float, float]:
        """Orders by how long compiling takes: by what it took elsewhere, else by the size."""
        return self._took.get(position, math.inf), work_per_warp(self._candidates[position])

    def _may_begin(self, pool: CompilePool) -> bool:
        """Whether a compiler would be idle otherwise."""
        if not self._speculative or pool.workers < MANY or self._workers.works_ahead:
            return False
        return self._workers.has(pool) and pool.owed() < pool.workers

    @contextmanager
    def _wait(self) -> Iterator[None]:
        began = time.perf_counter()
        with self._workers.turns.away():
            yield
        self.wait_s += time.perf_counter() - began

    def _send(self, pool: CompilePool, position: int) -> bool:
        """Have it compiled now. False: there is nothing to wait for."""
        if not self._workers.has(pool):  # it was lost meanwhile
            return False
        requested = self._begun.pop(position, None)
        if requested is not None:
            pool.hurry(requested.compilation.future)
        else:
            requested = self._hand_out(pool, position, urgent=True)
        if requested is None:
            return False
        self._running.setdefault(requested.compilation.future, (requested, []))[1].append(position)
        return True

    def _hand_out(self, pool: CompilePool, position: int, *, urgent: bool) -> Requested | None:
        """None: it is there already, or is left for the launch to compile."""
        began = time.perf_counter()
        try:
            shipment = self._shipment(position)
            if shipment is None:
                return None
            compilation = self._workers.compile(pool, shipment, urgent=urgent)
            return None if compilation is None else Requested(shipment, compilation)
        except HelperLost as error:
            self._workers.lost(error)
        except NotShippable:
            pass
        except Exception:  # the launch raises it again, where the program expects it
            logger.debug("tuneonce: a candidate could not be compiled ahead", exc_info=True)
        finally:
            self.front_s += time.perf_counter() - began
        return None

    def _shipment(self, position: int) -> Shipment | None:
        """None if nothing has to be compiled. What it raises, the launch will raise again."""
        session = self._session
        if session is None:
            return None
        shipment = self._workers.shipment(session, session.candidates[position])
        if shipment is not None and shipment.variant is not None:
            session.variants[position] = shipment.variant
        return shipment

    def _settled(self) -> Iterator[int]:
        for future in [future for future in self._running if future.done()]:
            requested, positions = self._running.pop(future)
            try:
                compiled = collect(requested, self._workers)
                for position in positions:
                    self.seconds[position] = compiled.seconds / len(positions)
                self._on_compiled(positions[0], compiled.seconds)
            except Crashed as error:
                if requested.compilation.recorded:  # within bounds that a launch's has not
                    self._waiting.extendleft(reversed(positions))
                    continue
                self.failures.update(dict.fromkeys(positions, str(error)))
            except NotCompiled as error:
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


@dataclass(frozen=True)
class Requested:
    """What was requested, and where it is."""

    shipment: Shipment
    compilation: Compilation


def collect(requested: Requested, workers: Workers) -> Compiled:
    """Wait for a compilation. Raises its failure; HelperLost, too, if Triton finds no binary."""
    shipment, compilation = requested.shipment, requested.compilation
    try:
        compiled = compilation.future.result()
        if compilation.staging is not None and not shipment.is_in_cache:
            adopt(shipment, compilation.staging)
    except NotCompiled as error:
        if error.kind == OtherTriton.__name__:
            raise HelperLost(str(error)) from error
        raise
    except OSError as error:
        raise NotCompiled("OSError", str(error)) from error
    finally:
        if compilation.staging is not None:
            workers.settled(shipment)
    if not shipment.is_in_cache:
        raise HelperLost("Triton does not find its binaries")
    return compiled


def await_binary(session: Session, config: Any, workers: Workers) -> None:
    """Let the helpers finish what they have begun for a candidate, or do it, before its launch."""
    if presence_of(session, config) in (Presence.IN_MEMORY, Presence.ON_DISK):
        return  # which is found out in half the time of what follows
    pool = workers.pool()
    if pool is None:
        return
    began = time.perf_counter()
    try:
        with workers.turns.tuning():
            shipment = workers.shipment(session, config, tuning=False)
        if shipment is None:
            return
        compilation = workers.compile(pool, shipment, urgent=True)
        if compilation is not None:
            collect(Requested(shipment, compilation), workers)
    except HelperLost as error:
        workers.lost(error)
    except Exception:  # the launch will say what is wrong
        logger.debug("tuneonce: a winner could not be compiled ahead", exc_info=True)
    finally:
        workers.tell_wait(session.label, time.perf_counter() - began)
