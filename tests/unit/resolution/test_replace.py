"""A verdict that is proven wrong is replaced, and nothing that changed meanwhile is lost."""

from __future__ import annotations

import msgspec
import pytest

from tests.fakes import FaultyStore, RememberedEvents, candidate, measured, question
from tuneonce.errors import StoreReadOnly, StoreUnavailable
from tuneonce.model.records import Verdict, pack, unpack
from tuneonce.resolution.resolver import Outcome, Resolver
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore

ASKED = question(64, 128, 256)
OLD, NEW = candidate(64).digest, candidate(256).digest
NAME = ASKED.key.verdict_name(ASKED.work_class, ASKED.digests)
THEN = {c.candidate: c for c in (measured(64, 0.1), measured(128, 0.2), measured(256, 0.3))}
NOW = {
    c.candidate: msgspec.structs.replace(c, method="recheck")
    for c in (measured(64, 0.3), measured(128, 0.25), measured(256, 0.2))
}


def resolver(store: Store, events: RememberedEvents | None = None) -> Resolver:
    return Resolver(store, events or RememberedEvents(), clock=lambda: 5000.0)


@pytest.fixture
def store() -> MemoryStore:
    filled = MemoryStore()
    resolver(filled).publish(ASKED, THEN, OLD, origin="measured", tune_s=7.5)
    return filled


def verdict(store: Store) -> Verdict:
    data = store.get(NAME)
    assert data is not None
    return unpack(data, Verdict)


def test_a_wrong_winner_is_replaced(store: MemoryStore) -> None:
    assert resolver(store).replace(ASKED, NOW, NEW, wrong=OLD)
    now = verdict(store)
    assert (now.winner, now.origin, now.tune_s) == (NEW, "rechecked", 7.5)
    assert {m.candidate: m.times for m in now.measurements} == {c: m.times for c, m in NOW.items()}
    assert list(store.list("")) == [NAME]
    resolution = resolver(store).resolve(ASKED)
    assert (resolution.outcome, resolution.winner) == (Outcome.HIT, NEW)
    assert resolution.saved_s == 7.5


def test_what_says_something_else_by_now_is_left(store: MemoryStore) -> None:
    before = store.get(NAME)
    assert not resolver(store).replace(ASKED, NOW, NEW, wrong=candidate(128).digest)
    assert not resolver(store).replace(ASKED, NOW, NEW, wrong=None)
    assert store.get(NAME) == before


def test_what_says_so_already_is_left(store: MemoryStore) -> None:
    assert resolver(store).replace(ASKED, NOW, NEW, wrong=OLD)
    before = store.get(NAME)
    assert not resolver(store).replace(ASKED, NOW, NEW, wrong=OLD)
    assert store.get(NAME) == before


def test_where_there_is_none_it_is_put() -> None:
    store = MemoryStore()
    assert resolver(store).replace(ASKED, NOW, NEW, wrong=OLD)
    assert (verdict(store).origin, verdict(store).tune_s) == ("rechecked", 6.0)


def test_whoever_publishes_in_between_wins(store: MemoryStore) -> None:
    other = pack(msgspec.structs.replace(verdict(store), winner=candidate(128).digest))

    class Racing(FaultyStore):
        def delete_if(self, name: str, expected: bytes) -> bool:
            gone = super().delete_if(name, expected)
            self.inner.put_if_absent(NAME, other)
            return gone

    assert not resolver(Racing(store)).replace(ASKED, NOW, NEW, wrong=OLD)
    assert store.get(NAME) == other


def test_a_change_before_the_removal_stays(store: MemoryStore) -> None:
    other = pack(msgspec.structs.replace(verdict(store), published_at=1.0))

    class Racing(FaultyStore):
        def delete_if(self, name: str, expected: bytes) -> bool:
            self.inner.put(NAME, other)
            return super().delete_if(name, expected)

    assert not resolver(Racing(store)).replace(ASKED, NOW, NEW, wrong=OLD)
    assert store.get(NAME) == other


def test_what_cannot_be_read_is_left_to_who_needs_it(store: MemoryStore) -> None:
    store.put(NAME, b"half a rec")
    assert not resolver(store).replace(ASKED, NOW, NEW, wrong=OLD)
    assert store.get(NAME) == b"half a rec"


@pytest.mark.parametrize("operation", ["get", "delete_if", "put_if_absent"])
def test_a_store_that_fails(store: MemoryStore, operation: str) -> None:
    events = RememberedEvents()
    fault = StoreUnavailable if operation == "get" else StoreReadOnly
    faulty = FaultyStore(store, **{operation: fault("no")})
    assert not resolver(faulty, events).replace(ASKED, NOW, NEW, wrong=OLD)
    assert events.problems() == ["store_failed"]
