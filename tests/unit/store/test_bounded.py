"""A store whose calls come to an end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from tests.fakes import RememberedEvents
from tuneonce.errors import StoreReadOnly, StoreUnavailable
from tuneonce.model.records import Verdict
from tuneonce.resolution.access import Access
from tuneonce.store.bounded import BoundedStore
from tuneonce.store.memory import MemoryStore
from tuneonce.system.threads import BoundedCalls, Overdue

NAME = "k/w/d/verdict"
# Only a test that would fail waits so long.
TOO_LONG = 60.0


class Dead(MemoryStore):
    """Answers nobody until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()
        self.asked = 0

    def get(self, name: str) -> bytes | None:
        self.asked += 1
        self.over.wait(TOO_LONG)
        return super().get(name)

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self.get(name)

    def children(self, prefix: str, *, limit: int | None = None) -> list[str]:
        self.get("x")
        return []


@pytest.fixture
def dead() -> Iterator[Dead]:
    store = Dead()
    yield store
    store.over.set()


def test_a_store_that_does_not_answer_is_not_asked_again(dead: Dead) -> None:
    store = BoundedStore(dead, "file:///mnt", read_s=0.05)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"file:///mnt: no answer within 0.05 s"):
            store.get(NAME)
    with pytest.raises(StoreUnavailable):
        store.children("")
    with pytest.raises(StoreUnavailable):
        store.put(NAME, b"")
    assert dead.asked == 1


def test_a_write_has_a_deadline_of_its_own(dead: Dead) -> None:
    store = BoundedStore(dead, "x", read_s=TOO_LONG, write_s=0.05)
    with pytest.raises(StoreUnavailable):
        store.put(NAME, b"")


def test_a_launch_is_told_once(dead: Dead, caplog: pytest.LogCaptureFixture) -> None:
    events = RememberedEvents()
    access = Access(BoundedStore(dead, "file:///mnt", read_s=0.05), events)  # type: ignore[arg-type]
    assert access.read(NAME, Verdict) is None
    assert access.children("k/", 10) == []
    assert access.read(NAME, Verdict) is None
    assert len(caplog.records) == len(events.problems()) == 1


def test_what_a_store_raises_is_raised() -> None:
    class Refuses(MemoryStore):
        def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
            raise StoreReadOnly("no")

    store = BoundedStore(Refuses(), "x")
    for _ in range(2):
        with pytest.raises(StoreReadOnly, match="no"):
            store.put(NAME, b"")
    assert store.get(NAME) is None


def test_threads_do_not_wait_for_each_other() -> None:
    both = threading.Barrier(2)

    class Together(MemoryStore):
        def get(self, name: str) -> bytes | None:
            both.wait(TOO_LONG)
            return b"x"

    store = BoundedStore(Together(), "x", read_s=TOO_LONG)
    found: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: found.append(store.get(NAME))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TOO_LONG)
    assert found == [b"x", b"x"]


def test_a_forked_child_has_threads_of_its_own() -> None:
    inner = MemoryStore()
    inner.put(NAME, b"x")
    store = BoundedStore(inner, "x")
    assert store.get(NAME) == b"x"
    pid = os.fork()
    if pid == 0:
        os._exit(0 if store.get(NAME) == b"x" else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no)
    store = BoundedStore(MemoryStore(), "x")
    store.put(NAME, b"x")
    assert store.get(NAME) == b"x"


def test_a_thread_that_nobody_needs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneonce.system.threads._IDLE_S", 0.01)
    store = BoundedStore(MemoryStore(), "x")
    before = set(threading.enumerate())
    assert store.get(NAME) is None
    for thread in set(threading.enumerate()) - before:
        thread.join(TOO_LONG)
        assert not thread.is_alive()
    assert store.get(NAME) is None


def test_a_store_is_far_if_no_call_came_back_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.5, 1.0, 1.001, 2.0, 3.0])
    store = BoundedStore(MemoryStore(), "memory:")
    monkeypatch.setattr("tuneonce.store.bounded.time.monotonic", lambda: next(seconds))
    assert not store.is_far  # nobody knows
    store.get(NAME)
    assert store.is_far
    store.get(NAME)
    assert not store.is_far
    store.get(NAME)  # a disk may be busy
    assert not store.is_far


def test_waiting_for_calls_that_were_overdue() -> None:
    calls, over = BoundedCalls(), threading.Event()
    assert calls.wait(0.0)
    with pytest.raises(Overdue):
        calls(lambda: over.wait(TOO_LONG), 0.0)
    assert not calls.wait(0.0)
    over.set()
    assert calls.wait(TOO_LONG)
    assert calls.wait(0.0)
