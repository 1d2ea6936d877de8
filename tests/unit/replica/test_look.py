"""A look at a replica: what it counts, and that it changes nothing and ends."""

from __future__ import annotations

import itertools

import pytest

from tests.factories import make_key, put_verdict
from tuneonce.errors import StoreFull, StoreReadOnly
from tuneonce.replica import in_packs
from tuneonce.replica import look as look_module
from tuneonce.replica.base import Page, Replica
from tuneonce.replica.exchange import Step, push
from tuneonce.replica.in_memory import Shared, in_memory
from tuneonce.replica.look import Looked, look
from tuneonce.replica.readonly import ReadOnlyReplica
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,)}


def nobody(step: Step) -> None:
    pass


@pytest.fixture
def replica() -> Replica:
    return in_memory(Shared())


def counts(found: Looked) -> tuple[int, ...]:
    return found.shelves, found.records, found.lacks, found.others, found.beyond


def test_it_counts_what_each_side_lacks(replica: Replica) -> None:
    ours, theirs = MemoryStore(), MemoryStore()
    assert counts(look(ours, replica, tell=nobody)) == (0, 0, 0, 0, 0)
    for kernel in ("both", "other", "theirs", "theirs too"):
        put_verdict(theirs, make_key(kernel), TIMES)
    put_verdict(theirs, make_key("theirs", product="NVIDIA H100"), TIMES)
    push(theirs, replica)
    put_verdict(ours, make_key("both"), TIMES)
    put_verdict(ours, make_key("other"), {64: (0.1,), 128: (0.2,)})
    put_verdict(ours, make_key("ours"), TIMES)
    put_verdict(ours, make_key("ours", product="NVIDIA GB10"), TIMES)
    before = {name: ours.get(name) for name in ours.list("")}
    steps: list[Step] = []
    found = look(ours, replica, tell=steps.append)
    assert counts(found) == (2, 5, 3, 1, 2)
    assert found.is_whole
    assert found.problems == []
    assert steps[-1] == Step(5)
    assert {name: ours.get(name) for name in ours.list("")} == before
    assert replica.pull(replica.shelves()[0]).entries


def test_it_times_requests(replica: Replica) -> None:
    # Each request takes a tick longer than the one before.
    ticks = (float(n * n) for n in itertools.count())
    found = look(MemoryStore(), replica, tell=nobody, clock=lambda: next(ticks))
    assert (found.first_s, found.round_trip_s) == (1.0, 9.0)


@pytest.mark.parametrize("pages", [True, False])
def test_it_ends_where_counting_takes_too_long(
    replica: Replica, pages: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_packs, "PAGE_BYTES", 1)
    monkeypatch.setattr(in_packs, "_MERGED", 1)
    store = MemoryStore()
    for kernel in ("one", "two", "three"):
        product: dict[str, str] = {} if pages else {"product": f"H{kernel}"}
        put_verdict(store, make_key(kernel, **product), TIMES)
        push(store, replica)
    found = look(MemoryStore(), replica, tell=nobody, within_s=0.0)
    assert not found.is_whole
    assert found.records == 1
    assert look(MemoryStore(), replica, tell=nobody).records == 3


def test_what_refuses_is_said(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(MemoryStore(), replica, tell=nobody).writes is True
    found = look(MemoryStore(), ReadOnlyReplica(replica), tell=nobody)
    assert (found.writes, "read-only" in found.refusal) == (False, True)
    for error in (StoreFull("no room", store="x"), StoreReadOnly("not yours", store="x")):

        def refuse(error: Exception = error) -> bool:
            raise error

        monkeypatch.setattr(replica, "try_writing", refuse)
        found = look(MemoryStore(), replica, tell=nobody)
        assert (found.writes, found.refusal) == (False, str(error))
    monkeypatch.setattr(replica, "try_writing", lambda: False)
    assert look(MemoryStore(), replica, tell=nobody).writes is None


def test_what_cannot_be_read_there_is_told() -> None:
    shared = Shared()
    store = MemoryStore()
    put_verdict(store, make_key(), TIMES)
    push(store, in_memory(shared))
    (pack,) = (name for name in shared.objects if name.endswith(".pack"))
    shared.objects[pack] = b"?"
    found = look(store, in_memory(shared), tell=nobody)
    assert (found.records, found.beyond, found.unreadable, len(found.problems)) == (0, 1, 1, 1)


def test_of_many_problems_some_are_told(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "shelves", lambda: ["one"])
    bad = Page([], "", problems=[f"bad {number}" for number in range(15)])
    monkeypatch.setattr(look_module, "pages", lambda replica, shelf: [bad, bad])
    found = look(MemoryStore(), replica, tell=nobody)
    assert found.unreadable == 30
    assert found.problems == [*bad.problems, *bad.problems[:5]]
