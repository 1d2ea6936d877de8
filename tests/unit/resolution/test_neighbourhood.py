"""The neighbours of a key that a store knows, and the keys that are to be measured."""

from __future__ import annotations

import pytest

from tests.factories import H100, make_key, put_verdict
from tests.fakes import FaultyStore, RememberedEvents, candidate, question
from tests.unit.resolution.desk import THREE, Desk, Reading, small_then_big
from tuneonce.errors import StoreUnavailable
from tuneonce.model.records import Wanted, unpack
from tuneonce.resolution import neighbourhood
from tuneonce.resolution.access import Access
from tuneonce.resolution.neighbourhood import Neighbourhood
from tuneonce.resolution.resolver import Resolver
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore

TIMES = {16: (1.0,), 32: (2.0,), 64: (3.0,)}
LIVE = [candidate(block).digest for block in TIMES]


def keyed(n: int, dtype: str = "torch.bfloat16") -> dict[str, object]:
    return {"n": n, "x.dtype": dtype}


def around(store: Store) -> Neighbourhood:
    return Neighbourhood(Access(store, RememberedEvents()))


def names(store: Store, ending: str) -> list[str]:
    return [name for name in store.list("") if name.endswith(ending)]


def test_siblings_are_of_this_source_and_world() -> None:
    store = MemoryStore()
    for n in (64, 128):
        put_verdict(store, make_key(tuning=keyed(n)), TIMES)
    put_verdict(store, make_key(tuning=keyed(1), product=H100), TIMES)
    put_verdict(store, make_key(tuning=keyed(2), source="f" * 16), TIMES)
    found = around(store).siblings(make_key(tuning=keyed(256)))
    assert {one.parts for one in found} == {make_key(tuning=keyed(n)).parts for n in (64, 128)}
    assert found[0].winner == candidate(16).digest
    assert found[0].times == dict(zip(LIVE, (1.0, 2.0, 3.0), strict=True))


def test_only_some_of_many_siblings_are_read_and_each_once() -> None:
    store = Reading()
    for n in range(1, 101):
        put_verdict(store, make_key(tuning=keyed(n)), TIMES)
    here = around(store)
    assert len(here.siblings(make_key(tuning=keyed(256)))) == 64
    assert (store.reads, store.lists) == (64, 65)
    here.siblings(make_key(tuning=keyed(257)))
    assert store.reads == 64


def test_a_store_that_is_down_has_no_neighbours() -> None:
    store = FaultyStore(MemoryStore(), children=StoreUnavailable("down"))
    here = around(store)
    assert here.siblings(make_key()) == here.elsewhere(make_key(), "c02", LIVE) == []


def test_a_far_store_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhood, "_SIBLINGS_S", -1.0)
    store = Reading()
    put_verdict(store, make_key(tuning=keyed(64)), TIMES)
    assert around(store).siblings(make_key(tuning=keyed(65))) == []
    assert store.reads == store.lists == 0


def test_elsewhere_the_same_source_comes_before_another_and_near_keys_before_far_ones() -> None:
    store = MemoryStore()
    ours = make_key(tuning=keyed(64))
    other_source = make_key(tuning=keyed(64), source="f" * 16)
    near, far = (make_key(tuning=keyed(n), product=H100) for n in (128, 4096))
    for key in (other_source, far, near):
        put_verdict(store, key, TIMES)
    found = around(store).elsewhere(ours, "c02", LIVE)
    assert [one.parts for one in found] == [near.parts, far.parts, other_source.parts]


def test_elsewhere_only_live_candidates_count() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(product=H100), TIMES)
    [found] = around(store).elsewhere(make_key(), "c02", LIVE[1:])
    assert found.winner == LIVE[1]
    assert around(store).elsewhere(make_key(), "c02", ["0" * 16]) == []


def test_a_key_is_wanted_until_its_verdict_is_published(desk: Desk) -> None:
    one, other = question(16, 32, 64), question(16, 32, 64, work_class="c07")
    for wanted in (one, one, other):
        assert desk.resolver.want(wanted)
    [name, _] = sorted(names(desk.store, ".wanted.json"))
    record = unpack(desk.store.get(name) or b"", Wanted)
    assert (record.kernel, record.work_class) == ("kernels:add", "c03")
    assert (record.candidates, record.recorded_at) == (one.digests, desk.clock.now)
    assert desk.resolve(one).outcome.value == "miss"
    desk.tune(one, *THREE)
    [left] = names(desk.store, ".wanted.json")
    assert "/c07." in left


def test_a_kernel_has_a_bounded_number_of_wanted_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhood, "_KEYS", 3)
    store = MemoryStore()
    resolver = Resolver(store, RememberedEvents())
    wanted = [resolver.want(question(16, n=n)) for n in range(5)]
    assert wanted == [True, True, True, False, False]
    assert resolver.want(question(16, 32, n=0)), "its folder is there already"
    assert resolver.want(question(16, n=9, kernel="mul"))
    assert len(names(store, ".wanted.json")) == 5


def test_a_wanted_key_is_no_measurement(desk: Desk) -> None:
    first = question(16, 32)
    desk.resolver.want(first)
    found = desk.resolve(first)
    assert (found.outcome.value, found.known) == ("miss", {})
    desk.tune(first, *small_then_big("c03"))
    assert desk.resolve(first).outcome.value == "hit"
