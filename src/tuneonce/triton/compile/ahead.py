"""Compiles other kernels' candidates before their first call, from records of another start.

The first cold key of a process says that this is a first start of some kind: a new Triton, a new
GPU, a changed source; the first winner without a binary, that Triton's cache was emptied. What such
a start will need is known from the last one's records, and none of it needs a tensor: each variant
is rebuilt, its code generated in a thread of this process while no key is tuned, and the rest is
done by the helpers when they have nothing urgent to do.

Compiled are the winners of keys that are known, and of the others what a race will ask for first
(`tuning.expectations`), for kernels whose modules are loaded and that can be compiled before they
are launched (`triton.compile.needed_variants`), in the order in which the last start met them: a
few kernels together, and of these what takes longest first. Nothing here is launched, measured or
believed: a wrong record wastes a compilation.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from ...events.log import EventLog
from ...resolution.resolver import Resolver
from ...system.forks import renew_in_child
from ...system.threads import start_thread
from ..kernel import device_facts
from ..seams import digests, drivers, probing, sources
from ..seams.seam import Feature
from .deadline import Overdue
from .helper_process import HelperLost
from .needed_variants import NeededVariant, NeededVariants, longest_first
from .pool import Compiled, CompilePool
from .workers import Workers

logger = logging.getLogger("tuneonce")

# Arbitrary: a store may hold the kernels of many models.
_MOST = 2000
# So many for each compiler are put in order together: more would wait for each other to be read.
_TOGETHER = 4


class Ahead:
    """Starts once in a process, at its first cold key."""

    def __init__(self, workers: Workers, resolver: Resolver, events: EventLog) -> None:
        self._workers, self._resolver, self._events = workers, resolver, events
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, which has no such thread."""
        self._begun = threading.Lock()

    @property
    def begun(self) -> bool:
        return self._begun.locked()

    def begin(self) -> None:
        """Look for what else will be needed, in a thread. Does nothing the second time."""
        pool = self._workers.pool()
        if pool is None or probing.missing(Feature.COMPILE_AHEAD):
            return
        if not self._begun.acquire(blocking=False):
            return
        try:
            target = drivers.current_target()
            world = device_facts.current_world(interpreted=False)
        except Exception:  # no device: whatever is being tuned is not compiled
            return
        self._workers.works_ahead = True
        try:
            start_thread(self._run, name="tuneonce-ahead", args=(pool, target, world))
        except RuntimeError:  # no more threads
            self._workers.works_ahead = False

    def _run(self, pool: CompilePool, target: Any, world: Any) -> None:
        began = time.perf_counter()
        workers = self._workers
        sent = 0
        running: set[Future[Compiled]] = set()
        try:
            for variant in self._in_order(world, _TOGETHER * pool.workers):
                if sent >= _MOST or workers.pool() is not pool:
                    return
                try:
                    with workers.turns.piece():
                        shipment = workers.recorded_shipment(
                            variant.source, target, variant.options, variant.texts
                        )
                    if not digests.unchanged(
                        sources.kernel_of(variant.source)
                    ):  # it may be of one value or the other
                        continue
                    compilation = workers.compile_recorded(pool, shipment)
                except HelperLost:
                    raise
                except Overdue:
                    self._events.emit("problem", what="ahead", detail="code took too long")
                    continue
                except Exception:  # options that are refused, a language that does not leave here
                    logger.debug("tuneonce: not compiled ahead", exc_info=True)
                    continue
                if compilation is not None:
                    sent += 1
                    running.add(compilation.future)
                if len(running) > 4 * pool.workers:
                    running = set(wait(running, return_when=FIRST_COMPLETED).not_done)
        except HelperLost as error:
            workers.lost(error)
        except Exception as error:  # it was only ever an attempt
            self._events.emit("problem", what="ahead", detail=repr(error))
            logger.debug("tuneonce: compiling ahead ended", exc_info=True)
        finally:
            workers.works_ahead = False
            if sent:
                seconds = round(time.perf_counter() - began, 6)
                self._events.emit("ahead", sent=sent, seconds=seconds)

    def _in_order(self, world: Any, together: int) -> Iterator[NeededVariant]:
        """What is to be compiled, by records in their order, at least `together` at a time."""
        needed = NeededVariants(self._resolver, world)
        found: list[NeededVariant] = []
        for record in self._resolver.variants():
            with self._workers.turns.piece():
                found += needed.of(record)
            if len(found) >= together:
                yield from longest_first(found)
                found = []
        yield from longest_first(found)
