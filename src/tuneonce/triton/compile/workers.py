"""The compile pool of a process, with what is on its way and what lies ready."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...events.log import EventLog
from ...system.cpus import slots_directory, usable_cpus, users_directory
from ...system.forks import renew_in_child
from ...system.greenlets import patched_by
from ..kernel.session import Session
from ..seams import caches, sources
from .code_texts import CodeTexts
from .interpreter_turns import InterpreterTurns
from .pool import Compiled, CompilePool
from .shipment import Shipment, shipment_for, shipment_of
from .staging import Staging, likeness
from .stock_compiler import blocked

logger = logging.getLogger("tuneonce")

# With fewer compilers, one that is busy with what is never asked for is missed.
MANY = 4


@dataclass(frozen=True)
class Compilation:
    """One on its way, or done. `staging`: it must be adopted from there before a launch.

    `recorded`: it was begun because a record said so, within the bounds of that.
    """

    future: Future[Compiled]
    staging: str | None
    recorded: bool = False
    likeness: str = ""


class Workers:
    """Has things compiled in other processes, or says that this is not possible. Thread-safe.

    `turns` are shared by all threads that have something compiled. `works_ahead`: work that can
    wait is being handed out (`triton.compile.ahead`). Its lock comes before the pool's (see there),
    and no callback is made while it is held.
    """

    turns: InterpreterTurns
    works_ahead: bool

    def __init__(self, pool: CompilePool | None, events: EventLog) -> None:
        self._pool = pool
        self._events = events
        self.renew()
        renew_in_child(self)
        # A helper that was lost or idle is not closed again, but what it made is to be removed.
        atexit.register(_close, weakref.ref(self))

    def pool(self) -> CompilePool | None:
        """The pool, if compilations can leave this process now. Some hundred microseconds: whoever
        hands something out asks, and nobody else."""
        pool = self._pool
        if pool is None or pool.workers < 2 or patched_by() is not None:
            return None
        return pool if blocked() is None else None

    @property
    def most(self) -> int:
        """How many compilations may run at once, if any leave this process."""
        pool = self._pool
        return 0 if pool is None else pool.workers

    def drop(self, futures: Iterable[Future[Compiled]]) -> None:
        """Forget compilations that have not begun."""
        if self._pool is not None:
            self._pool.drop(futures)

    def has(self, pool: CompilePool) -> bool:
        """Whether this pool, which was there a moment ago, still is."""
        return self._pool is pool

    # -- what has to be compiled -------------------------------------------------------------

    def shipment(self, session: Session, config: Any, *, tuning: bool = True) -> Shipment | None:
        """What has to be compiled before `config` can be launched (`triton.compile.shipment`)."""
        return shipment_for(session, config, on_its_way=self._is_on_its_way, tuning=tuning)

    def recorded_shipment(
        self, src: Any, target: Any, options: Mapping[str, Any], texts: CodeTexts
    ) -> Shipment:
        """The same for a variant that is not launched yet."""
        return shipment_of(
            src, target, options, texts, on_its_way=self._recorded.__contains__, recorded=True
        )

    def _is_on_its_way(self, hash: str) -> bool:
        return hash in self._asked

    # -- compiling ---------------------------------------------------------------------------

    def compile(
        self, pool: CompilePool, shipment: Shipment, *, urgent: bool, within: str | None = None
    ) -> Compilation | None:
        """Have it compiled for a launch; None if its binary is there.

        `within`: the event that tells of it, if it is for no launch. Raises HelperLost, BadFrame
        and OSError.
        """
        new = False
        with self._lock:
            compilation = self._asked.get(shipment.hash)
            if compilation is None and shipment.job is not None:
                compilation = self._alike(shipment)
                if compilation is None:
                    compilation = self._submit(pool, shipment, shipment.job, urgent=urgent)
                    new = True
                self._asked[shipment.hash] = compilation
        if compilation is None:
            return None
        if new:
            staged = compilation.staging is not None
            compilation.future.add_done_callback(
                lambda f: self._arrived(shipment, f, staged, within)
            )
        else:
            # One that a record had asked for may be dropped now like any other.
            compilation.future.add_done_callback(lambda f: self._dropped(shipment, f))
            if urgent:
                pool.hurry(compilation.future)
        return compilation

    def compile_recorded(self, pool: CompilePool, shipment: Shipment) -> Compilation | None:
        """Have it compiled aside, because a record says that it will be needed.

        None if that is not necessary. Raises like `compile`.
        """
        job = shipment.job
        if job is None:
            return None
        with self._lock:
            if shipment.hash in self._recorded or shipment.hash in self._asked:
                return None
            job["staging"] = self.staging.place()
            future = pool.submit(job, urgent=False)
            compilation = Compilation(future, job["staging"], True, likeness(job))
            self._recorded[shipment.hash] = compilation
        future.add_done_callback(lambda f: self._tell(shipment, f))
        return compilation

    def settled(self, shipment: Shipment) -> None:
        """It has been collected: from now on it is in Triton's cache, or compiled anew."""
        with self._lock:
            self._asked.pop(shipment.hash, None)

    def lost(self, error: Exception) -> None:
        """The helper cannot be had: go on without, and say so once."""
        with self._lock:
            had, self._pool = self._pool, None
        if had is not None:
            had.close()
            self._events.emit("problem", what="compile_helper_lost", detail=str(error))
            logger.warning("tuneonce: no compile helper (%s); compiling in this process", error)

    def tell_wait(self, kernel: str, seconds: float) -> None:
        """A launch has waited for compilers so long, without tuning its key."""
        self._events.emit("wait", kernel=kernel, seconds=round(seconds, 6), waited=True)

    def finish(self) -> None:
        """Start-up is over: leave no process behind that has nothing to do."""
        if self._pool is not None:
            self._pool.finish()

    def close(self) -> None:
        """End what was started, and remove what was not needed."""
        if self._pool is not None:
            self._pool.close()
        self.staging.close()

    # -- with the lock held ------------------------------------------------------------------

    def _alike(self, shipment: Shipment) -> Compilation | None:
        """What was compiled because of a record, if it is what this program asks for now."""
        early = self._recorded.get(shipment.hash)
        if early is None or shipment.job is None or early.likeness != likeness(shipment.job):
            return None
        del self._recorded[shipment.hash]
        return early

    def _submit(
        self, pool: CompilePool, shipment: Shipment, job: dict[str, Any], *, urgent: bool
    ) -> Compilation:
        if not caches.keeps_files(shipment.hash):
            job["staging"] = self.staging.place()
        return Compilation(pool.submit(job, urgent=urgent), job["staging"])

    # -- called back -------------------------------------------------------------------------

    def _arrived(
        self, shipment: Shipment, future: Future[Compiled], staged: bool, within: str | None
    ) -> None:
        if not staged:
            self.settled(shipment)
        self._dropped(shipment, future)
        self._tell(shipment, future, within)

    def _dropped(self, shipment: Shipment, future: Future[Compiled]) -> None:
        if future.cancelled():
            self.settled(shipment)

    def _tell(
        self, shipment: Shipment, future: Future[Compiled], within: str | None = None
    ) -> None:
        if not future.cancelled() and future.exception() is None and not future.result().found:
            seconds = round(future.result().seconds, 6)
            # What a launch waited for it is in the event of the tune, or in one of its own.
            self._events.emit(
                "compile",
                kernel=sources.name_of(shipment.src),
                seconds=seconds,
                ahead=True,
                waited=False,
                **({} if within is None else {"within": within}),
            )

    def renew(self) -> None:
        """Also in a forked child, where nothing of its parent's is on its way."""
        self._lock = threading.Lock()
        self.works_ahead = False
        self._asked: dict[str, Compilation] = {}
        self._recorded: dict[str, Compilation] = {}
        self.staging = Staging()
        self.turns = InterpreterTurns()


def build_workers(wanted: int | None, events: EventLog) -> Workers:
    """Workers as the settings want them; nothing is started before the first cold key."""
    count = usable_cpus() if wanted is None else wanted
    pool = None
    if count > 1:
        pool = CompilePool(workers=count, slots=slots_directory, binaries=_binaries)
    return Workers(pool, events)


def _binaries() -> Path | None:
    """Where the helpers of a user say which binary they compile."""
    return users_directory("binaries")


def _close(workers: weakref.ref[Workers]) -> None:
    alive = workers()
    if alive is not None:
        alive.close()
