"""Compiles kernels' candidates before their first call, from records of another start.

What a start needs that is the first of some kind (a new Triton, a new GPU, a changed source, an
emptied Triton cache) is known from the last one's records, and none of it needs a tensor: each
variant is rebuilt, its code generated in a thread of this process while nobody tunes, and the rest
is done by the helpers when they have nothing urgent to do.

That begins as soon as the process has a device and kernels (`tuneonce.triton.watch`), which in a
server is before it loads weights; at the latest, at the first cold key, or at the first winner
without a binary. A start that finds everything in its place sends nothing.

Compiled are the winners of keys that are known, and of the others what a race will ask for first
(`tuneonce.expected`), for kernels whose modules are loaded, in the order in which the last start
met them: a few kernels together, and of these what takes longest first. Nothing here is launched,
measured or believed: a wrong record wastes a compilation.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from ..events import EventLog
from ..records import Variants
from ..resolver import Resolver
from . import probe
from .compile_pool import Compiled
from .compiles import Workers
from .helper_process import HelperLost
from .needs import NeededVariant, Needs, longest_first
from .unnoticed import unchanged, unnoticed

logger = logging.getLogger("tuneonce")

# Arbitrary: a store may hold the kernels of many models.
_MOST = 2000
# So many for each compiler are put in order together: more would wait for each other to be read.
_TOGETHER = 4


class Ahead:
    """Looks for what can be compiled, whenever it is told to, in one thread. Thread-safe."""

    def __init__(self, workers: Workers, resolver: Resolver, events: EventLog) -> None:
        self._workers, self._resolver, self._events = workers, resolver, events
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._asked = self._running = False
        self._launched = False
        self._place: tuple[Any, Any] | None = None  # target and world
        self._left: list[Variants] | None = None  # None: not read
        self._awaited: frozenset[str] | None = None  # their modules
        self._sent = 0

    @property
    def begun(self) -> bool:
        """Whether a binary that is missing may be on its way."""
        return self._launched or self._sent > 0

    def begin(self) -> None:
        """A launch of this thread needs what is not there. Does nothing the second time."""
        if self._launched or self._workers.pool() is None:
            return
        self._launched = True
        from triton.runtime.driver import driver

        try:
            target = driver.active.get_current_target()
            self._place = target, probe.current_world(interpreted=False)
        except Exception:  # no device: whatever is being tuned is not compiled
            return
        self._look()

    def expect(self, module: str | None = None) -> None:
        """There is a device, and kernels of `module` (None: of any) are being defined."""
        awaited = self._awaited
        if module is not None and awaited is not None and module not in awaited:
            return
        if self._workers.pool() is not None:
            self._look()

    def _look(self) -> None:
        with self._lock:
            self._asked = True
            if self._running:
                return
            self._running = self._workers.works_ahead = True
        try:
            threading.Thread(target=self._run, name="tuneonce-ahead", daemon=True).start()
        except RuntimeError:  # no more threads
            self._running = self._workers.works_ahead = False

    # -- in a thread of its own --------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._asked:
                    self._running = self._workers.works_ahead = False
                    return
                self._asked = False
            self._round()

    def _round(self) -> None:
        began, before = time.perf_counter(), self._sent
        try:
            place = self._place or _only_place()
            if place is None:
                self._awaited = frozenset()  # nothing, before a launch
            else:
                self._send(self._loaded(), *place)
        except Exception as error:  # it was only ever an attempt
            self._events.emit("problem", what="ahead", detail=repr(error))
            logger.debug("tuneonce: compiling ahead ended", exc_info=True)
        if sent := self._sent - before:
            seconds = round(time.perf_counter() - began, 6)
            self._events.emit("ahead", sent=sent, seconds=seconds)

    def _loaded(self) -> list[Variants]:
        """The records of modules that are there by now, each only once."""
        if self._left is None:
            self._left = list(self._resolver.variants())
        modules = {record.kernel: record.kernel.partition(":")[0] for record in self._left}
        there = {name for name in modules.values() if name in sys.modules}
        found = [record for record in self._left if modules[record.kernel] in there]
        self._left = [record for record in self._left if modules[record.kernel] not in there]
        self._awaited = frozenset(modules[record.kernel] for record in self._left)
        for name in there:
            _await_import(name)
        return found

    def _send(self, records: list[Variants], target: Any, world: Any) -> None:
        workers = self._workers
        running: set[Future[Compiled]] = set()
        if not records or (pool := workers.pool()) is None:
            return
        for variant in self._in_order(records, world, _TOGETHER * pool.workers):
            if self._sent >= _MOST or workers.pool() is not pool:
                return
            try:
                with workers.turns.piece(), unnoticed(variant.source):
                    shipment = workers.front(variant.source, target, variant.options)
                if not unchanged(variant.source):  # its code may be of the one value or the other
                    continue
                future = workers.compile(pool, shipment, urgent=False)
            except HelperLost:
                raise
            except Exception:  # options that are refused, a language that does not leave here
                logger.debug("tuneonce: not compiled ahead", exc_info=True)
                continue
            if future is not None:
                workers.launchers.begin(variant.source)
                self._sent += 1
                running.add(future)
            if len(running) > 4 * pool.workers:
                running = set(wait(running, return_when=FIRST_COMPLETED).not_done)

    def _in_order(
        self, records: list[Variants], world: Any, together: int
    ) -> Iterator[NeededVariant]:
        """What is to be compiled, by records in their order, at least `together` at a time."""
        needs = Needs(self._resolver, world)
        found: list[NeededVariant] = []
        for record in records:
            with self._workers.turns.piece():
                found += needs.of(record)
            if len(found) >= together:
                yield from longest_first(found)
                found = []
        yield from longest_first(found)


def _only_place() -> tuple[Any, Any] | None:
    """Target and world of the devices; None if a launch must tell which one of them is used."""
    from triton.runtime.driver import driver

    if not probe.devices_alike():
        return None
    return driver.active.get_current_target(), probe.device_world()


def _await_import(name: str) -> None:
    """Let a module that is being imported be completed. It may fail, and is then not there."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    # `import_module` does the same, but would start over an import that has failed.
    await_lock = getattr(importlib._bootstrap, "_lock_unlock_module", None)
    if getattr(spec, "_initializing", False) and await_lock is not None:
        await_lock(name)
