"""Compiles other kernels' candidates before their first call, from records of another start.

The first cold key of a process says that this is a first start of some kind: a new Triton, a new
GPU, a changed source; the first winner without a binary, that Triton's cache was emptied. What such
a start will need is known from the last one's records, and none of it needs a tensor: each variant
is rebuilt, its code generated in a thread of this process while nobody tunes, and the rest is
done by the helpers when they have nothing urgent to do.

Compiled are the winners of keys that are known, and of the others what a race will ask for first
(`tuneonce.expected`), for kernels whose modules are loaded, in the order in which the last start
met them: a few kernels together, and of these what takes longest first. Nothing here is launched,
measured or believed: a wrong record wastes a compilation.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from ..events import EventLog
from ..expected import Expectations
from ..key import Candidate, Key
from ..race import RULES
from ..records import Variants
from ..resolver import Question, Resolver
from . import convert, probe
from .compile_pool import Compiled, CompilePool
from .compiles import Workers
from .source import innermost, kernel_id
from .variants import find, join, rebuild

logger = logging.getLogger("tuneonce")

# Arbitrary: a store may hold the kernels of many models.
_MOST = 2000
# So many for each compiler are put in order together: more would wait for each other to be read.
_TOGETHER = 4


@dataclass(frozen=True)
class _Variant:
    """One to compile; `seconds` is what that has taken elsewhere, infinite if nobody knows."""

    source: Any
    options: dict[str, Any]
    seconds: float


class Ahead:
    """Starts once in a process, at its first cold key."""

    def __init__(self, workers: Workers, resolver: Resolver, events: EventLog) -> None:
        self._workers, self._resolver, self._events = workers, resolver, events
        self._begun = threading.Lock()

    @property
    def begun(self) -> bool:
        return self._begun.locked()

    def begin(self) -> None:
        """Look for what else will be needed, in a thread. Does nothing the second time."""
        pool = self._workers.pool()
        if pool is None or not self._begun.acquire(blocking=False):
            return
        from triton.runtime.driver import driver

        try:
            target = driver.active.get_current_target()
            world = probe.current_world(interpreted=False)
        except Exception:  # no device: whatever is being tuned is not compiled
            return
        thread = threading.Thread(
            target=self._run, args=(pool, target, world), name="tuneonce-ahead", daemon=True
        )
        self._workers.works_ahead = True
        try:
            thread.start()
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
                workers.launchers.begin(variant.source)
                with workers.turns.piece():
                    shipment = workers.front(variant.source, target, variant.options)
                future = workers.compile(pool, shipment, urgent=False)
                if future is not None:
                    sent += 1
                    running.add(future)
                if len(running) > 4 * pool.workers:
                    running = set(wait(running, return_when=FIRST_COMPLETED).not_done)
        except Exception as error:  # it was only ever an attempt
            self._events.emit("problem", what="ahead", detail=repr(error))
            logger.debug("tuneonce: compiling ahead ended", exc_info=True)
        finally:
            workers.works_ahead = False
            if sent:
                seconds = round(time.perf_counter() - began, 6)
                self._events.emit("ahead", sent=sent, seconds=seconds)

    def _in_order(self, world: Any, together: int) -> Iterator[_Variant]:
        """What is to be compiled, by records in their order, at least `together` at a time."""
        found: list[_Variant] = []
        for record in self._resolver.variants():
            with self._workers.turns.piece():
                found += self._wanted(record, world)
            if len(found) >= together:
                yield from _longest_first(found)
                found = []
        yield from _longest_first(found)

    def _wanted(self, record: Variants, world: Any) -> Iterator[_Variant]:
        """What the record's key will need first."""
        try:
            module, _, qualname = record.kernel.partition(":")
            autotuner = _autotuner(find(module, qualname))
            jit = innermost(autotuner)
            question = _question(record, autotuner, world)
            digests = question.digests
            resolution = self._resolver.resolve(question)
            wanted = [resolution.winner]
            seconds: dict[str, float] = {}
            if resolution.winner is None:
                prior = self._resolver.expected(question)
                seconds = {digests[position]: s for position, s in prior.compile_s.items()}
                expectations = Expectations(
                    range(len(digests)),
                    known={},
                    prior=prior.times,
                    compile_s=prior.compile_s,
                    trust=RULES.trust,
                    seed=question.seed,
                )
                wanted = [digests[position] for position in expectations.first()]
            for digest in wanted:
                rest = record.each.get(digest or "")
                if digest is not None and rest is not None:
                    source, options = rebuild(jit, join(jit, record.common, rest))
                    yield _Variant(source, options, seconds.get(digest, math.inf))
        except Exception:  # another kernel of that name, a value that is gone
            logger.debug("tuneonce: %s is not compiled ahead", record.kernel, exc_info=True)


def _longest_first(found: list[_Variant]) -> list[_Variant]:
    """In the order in which they are best compiled.

    One of each kernel before all others: whether the helper generates the kernel's code as it is
    generated here is found out by one, and nothing is kept before that.
    """
    found = sorted(found, key=attrgetter("seconds"), reverse=True)
    first: dict[int, _Variant] = {}
    for variant in found:
        first.setdefault(id(variant.source.fn), variant)
    ones = set(map(id, first.values()))
    return [*first.values(), *(variant for variant in found if id(variant) not in ones)]


@dataclass(frozen=True)
class Recorded(Candidate):
    """A candidate of which a record holds no more than the digest."""

    digest: str = ""


def _autotuner(found: Any) -> Any:
    """The autotuner under any decorators. Raises ValueError."""
    for _ in range(32):
        if hasattr(found, "configs") and hasattr(found, "prune_configs"):
            return found
        found = getattr(found, "fn", None)
    raise ValueError("no autotuner")


def _question(record: Variants, autotuner: Any, world: Any) -> Question:
    """The record's key in this world and with this source, and its live candidates."""
    tuning = tuple(
        (name.removeprefix("key."), json.loads(text))
        for name, text in record.key
        if name.startswith("key.")
    )
    recorded = set(record.candidates)
    live = [c for c in convert.candidates(autotuner.configs) if c.digest in recorded]
    if getattr(autotuner, "early_config_prune", None) is not None:
        # It may make up candidates that are in no list: those of the last start are the best guess.
        found = {candidate.digest for candidate in live}
        live += [Recorded((), digest) for digest in record.candidates if digest not in found]
    key = Key(kernel_id(autotuner.fn), tuning, world.parts, world.name)
    return Question(key, record.work_class, None, live)
