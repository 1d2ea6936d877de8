"""A resolver at work, and the records that the tests of it share."""

from __future__ import annotations

from typing import Any

from tests.factories import record
from tests.fakes import RememberedEvents, candidate, measured
from tuneonce.model.records import Measurement
from tuneonce.resolution.resolver import Question, Resolution, Resolver
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore
from tuneonce.tuning.selection import choose


class Clock:
    def __init__(self, now: float = 2000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Desk:
    """A resolver with its store, events and clock, and the steps a tuner takes with it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.events = RememberedEvents()
        self.clock = Clock()
        self.resolver = Resolver(store, self.events, clock=self.clock)

    def resolve(self, asked: Question) -> Resolution:
        return self.resolver.settle(asked, self.resolver.resolve(asked))

    def record(self, asked: Question, *measurements: Measurement) -> None:
        for measurement in measurements:
            record(self.resolver, asked, measurement)

    def tune(self, asked: Question, *measurements: Measurement) -> str:
        """Measure all candidates and publish the best; returns the winner to use."""
        self.record(asked, *measurements)
        known = {m.candidate: m for m in measurements}
        winner = choose(asked.digests, known)
        assert winner is not None
        return self.resolver.publish(asked, known, winner, origin="measured", tune_s=9.0)

    def names(self) -> list[str]:
        """The last parts of all names in the store."""
        return sorted(name.rpartition("/")[2] for name in self.store.list(""))

    def another(self) -> Desk:
        """Another process over the same store."""
        return Desk(self.store)


class Reading(MemoryStore):
    """Counts what is read and listed."""

    reads = bytes = lists = 0

    def get(self, name: str) -> bytes | None:
        data = super().get(name)
        self.reads += 1
        self.bytes += len(data or b"")
        return data

    def children(self, prefix: str, *, limit: int | None = None) -> Any:
        assert limit is not None
        self.lists += 1
        return super().children(prefix, limit=limit)

    def list(self, prefix: str) -> Any:
        raise AssertionError("a launch lists no more than it needs")


def d(block: int) -> str:
    return candidate(block).digest


THREE = (measured(16, 3.0), measured(32, 1.0), measured(64, 2.0))


def small_then_big(work_class: str, small: float = 1.0) -> tuple[Measurement, ...]:
    return (
        measured(16, small, work_class=work_class),
        measured(32, 2.0, work_class=work_class),
    )


def verdict_name(asked: Question) -> str:
    return asked.key.verdict_name(asked.work_class, asked.digests)


def measurement_name(asked: Question, block: int) -> str:
    return asked.key.measurement_name(asked.work_class, d(block))
