"""A frozen set of winners in front of a store."""

from __future__ import annotations

import pytest

from tests.fakes import FaultyStore, RememberedEvents, question
from tests.unit.resolution.desk import THREE, Desk, d
from tuneonce.model.frozen import FrozenSet, Winner
from tuneonce.model.record_names import list_digest
from tuneonce.resolution.frozen import FrozenResolver
from tuneonce.resolution.resolver import Outcome, Question
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore


def frozen(asked: Question, winner: str, *, work_class: str = "c03") -> FrozenSet:
    """A set that says one thing."""
    places = {"key": asked.key.digest, "candidates": list_digest(asked.digests)}
    about = {"kernel": "add", "world": "-", "tuning": "-", "text": "-"}
    return FrozenSet([Winner(**places, **about, work_class=work_class, winner=winner)])


def test_the_set_wins_over_the_store_which_is_not_asked(store: Store) -> None:
    asked = question(16, 32, 64)
    assert Desk(store).tune(asked, *THREE) == d(32)
    counted, events = FaultyStore(store), RememberedEvents()
    resolver = FrozenResolver(counted, events, frozen=frozen(asked, d(64)))
    found = resolver.resolve(asked)
    assert (found.outcome, found.winner, found.reason) == (Outcome.HIT, d(64), "frozen")
    assert counted.calls == []
    assert events.problems() == []


def test_the_event_tells_the_winner() -> None:
    asked, events = question(16, 32, 64), RememberedEvents()
    resolver = FrozenResolver(MemoryStore(), events, frozen=frozen(asked, d(64)))
    resolver.report(asked, resolver.resolve(asked))
    [event] = events.seen
    assert (event["outcome"], event["reason"]) == ("hit", "frozen")
    assert event["winner"] == "BLOCK=64 num_warps=4"


def test_it_answers_for_all_sizes_and_orders_of_the_list() -> None:
    asked = question(16, 32, 64)
    resolver = FrozenResolver(MemoryStore(), RememberedEvents(), frozen=frozen(asked, d(64)))
    assert resolver.resolve(question(64, 16, 32, work_class="c09")).winner == d(64)


@pytest.mark.parametrize(
    ("by_class", "expected"), [(True, [16, 16, 32, 32]), (False, [32, 32, 32, 32])]
)
def test_a_size_gets_its_own_winner_or_the_nearest(by_class: bool, expected: list[int]) -> None:
    asked = question(16, 32, 64)
    held = FrozenSet(
        frozen(asked, d(winner), work_class=name).winners[0]
        for name, winner in (("c00", 16), ("c04", 32))
    )
    resolver = FrozenResolver(MemoryStore(), RememberedEvents(), frozen=held, by_class=by_class)
    asked_for = [question(16, 32, 64, work_class=name) for name in ("c00", "c01", "c02", "cxx")]
    found = [resolver.resolve(one) for one in asked_for]
    assert [one.winner for one in found] == [*map(d, expected)]
    assert {(one.outcome, one.reason) for one in found} == {(Outcome.HIT, "frozen")}


def test_what_it_does_not_hold_goes_the_usual_way(store: Store) -> None:
    asked = question(16, 32, 64)
    Desk(store).tune(asked, *THREE)
    others = [question(16, 32, 64, n=2), question(16, 32), None]
    for other in others:
        held = None if other is None else frozen(other, d(16))
        found = FrozenResolver(store, RememberedEvents(), frozen=held).resolve(asked)
        assert (found.outcome, found.winner) == (Outcome.HIT, d(32))


def test_a_winner_that_is_no_candidate_of_the_list_is_told_and_not_used(store: Store) -> None:
    asked, events = question(16, 32, 64), RememberedEvents()
    Desk(store).tune(asked, *THREE)
    found = FrozenResolver(store, events, frozen=frozen(asked, d(128))).resolve(asked)
    assert found.winner == d(32)
    assert events.problems() == ["frozen_winner_is_no_candidate"]


def test_a_recheck_replaces_nothing_that_is_frozen(store: Store) -> None:
    asked = question(16, 32, 64)
    Desk(store).tune(asked, *THREE)
    before = {name: store.get(name) for name in store.list("")}
    known = {m.candidate: m for m in THREE}
    resolver = FrozenResolver(store, RememberedEvents(), frozen=frozen(asked, d(32)))
    assert not resolver.replace(asked, known, d(16), wrong=d(32))
    assert {name: store.get(name) for name in store.list("")} == before
    resolver = FrozenResolver(store, RememberedEvents(), frozen=frozen(question(8), d(8)))
    assert resolver.replace(asked, known, d(16), wrong=d(32))
