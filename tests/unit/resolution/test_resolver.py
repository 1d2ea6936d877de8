"""What is known about a key."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FaultyStore, RememberedEvents, measured, question
from tests.unit.resolution.desk import (
    THREE,
    Desk,
    Reading,
    d,
    measurement_name,
    small_then_big,
    verdict_name,
)
from tuneonce.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from tuneonce.model.records import Sighting, Verdict, pack, unpack
from tuneonce.resolution.resolver import FAILURE_HOLDS_S, Outcome, Question, Resolver
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore
from tuneonce.tuning.between_classes import between
from tuneonce.tuning.selection import choose

# -- the outcomes --------------------------------------------------------------------------------


def test_nothing_is_known(desk: Desk) -> None:
    found = desk.resolve(question(16, 32))
    assert (found.outcome, found.winner, found.known) == (Outcome.MISS, None, {})
    assert (found.reason, found.saved_s) == ("unknown", 0.0)
    assert desk.names() == []


def test_a_verdict_is_a_hit_in_another_process(desk: Desk) -> None:
    asked = question(16, 32, 64)
    assert desk.tune(asked, *THREE) == d(32)
    found = desk.another().resolve(asked)
    assert (found.outcome, found.winner, found.reason) == (Outcome.HIT, d(32), None)
    assert found.saved_s == 9.0
    assert {k: m.times for k, m in found.known.items()} == {
        d(16): (3.0,), d(32): (1.0,), d(64): (2.0,)
    }  # fmt: skip


def test_a_hit_costs_one_read(store: Store) -> None:
    Desk(store).tune(question(16, 32, 64), *THREE)
    counted = FaultyStore(store)
    Desk(counted).resolve(question(16, 32, 64))
    assert [operation for operation, _ in counted.calls] == ["get"]


def test_what_a_verdict_tells(desk: Desk) -> None:
    asked = dataclasses.replace(question(16, 32, 64), about={"driver": "580.1"})
    desk.tune(asked, *THREE)
    [name] = desk.store.list("")
    data = desk.store.get(name)
    assert data is not None
    verdict = unpack(data, Verdict)
    assert verdict.key == list(asked.key.parts)
    assert verdict.about == {"kernel.module": "kernels", "driver": "580.1"}
    assert (verdict.work_class, verdict.programs) == ("c03", 64)
    assert verdict.candidates == asked.digests
    assert (verdict.origin, verdict.tune_s, verdict.compile_s) == ("measured", 9.0, 3.0)
    assert verdict.published_at == desk.clock.now


@pytest.mark.parametrize("order", list(itertools.permutations((16, 32, 64))))
def test_the_order_of_candidates_is_irrelevant(desk: Desk, order: tuple[int, ...]) -> None:
    desk.tune(question(16, 32, 64), *THREE)
    found = desk.another().resolve(question(*order))
    assert (found.outcome, found.winner) == (Outcome.HIT, d(32))


def test_every_other_key_is_a_miss(desk: Desk) -> None:
    desk.tune(question(16, 32, 64), *THREE)
    for other in (
        question(16, 32, 64, n=2),
        question(16, 32, 64, kernel="sub"),
        question(16, 32, 64, product="H20"),
    ):
        found = desk.resolve(other)
        assert (found.outcome, found.known) == (Outcome.MISS, {})


def test_measurements_of_an_interrupted_tuning_are_partial(desk: Desk) -> None:
    asked = question(16, 32, 64)
    desk.record(asked, THREE[0], THREE[2])
    found = desk.another().resolve(asked)
    assert (found.outcome, found.winner) == (Outcome.PARTIAL, None)
    assert found.reason == "candidates_missing"
    assert set(found.known) == {d(16), d(64)}


def test_measurements_of_every_candidate_are_assembled(desk: Desk) -> None:
    asked = question(16, 32, 64)
    desk.record(asked, *THREE)
    found = desk.another().resolve(asked)
    assert (found.outcome, found.winner, found.reason) == (Outcome.HIT, d(32), "assembled")
    assert found.saved_s == 6.0
    assert [name.split(".", 2)[2] for name in desk.names()] == ["verdict.json"]
    found = desk.another().resolve(asked)
    assert (found.outcome, found.winner, found.reason) == (Outcome.HIT, d(32), None)


def test_an_added_candidate_costs_one_measurement(desk: Desk) -> None:
    twenty = tuple(range(16, 336, 16))
    desk.tune(question(*twenty), *[measured(block, 1.0 + block) for block in twenty])
    asked = question(*twenty, 8)
    found = desk.another().resolve(asked)
    assert (found.outcome, found.winner) == (Outcome.PARTIAL, None)
    assert set(asked.digests) - set(found.known) == {d(8)}
    # The tuner measures it and publishes.
    desk.record(asked, measured(8, 0.5))
    known = {**found.known, d(8): measured(8, 0.5)}
    desk.resolver.publish(asked, known, d(8), origin="measured", tune_s=1.0)
    assert desk.another().resolve(asked).winner == d(8)
    assert desk.another().resolve(question(*twenty)).winner == d(16)


def test_an_added_candidate_costs_one_measurement_whatever_other_sizes_know(desk: Desk) -> None:
    desk.tune(question(16, 32, work_class="c05"), *small_then_big("c05"))
    desk.tune(question(16, 32), *small_then_big("c03"))
    asked = question(16, 32, 64)
    found = desk.another().resolve(asked)
    assert found.outcome is Outcome.PARTIAL
    assert set(found.known) == {d(16), d(32)}


@pytest.mark.parametrize("removed", [16, 32, 64])
def test_a_removed_candidate_costs_none(desk: Desk, removed: int) -> None:
    desk.tune(question(16, 32, 64), *THREE)
    left = [block for block in (16, 32, 64) if block != removed]
    found = desk.another().resolve(question(*left))
    assert (found.outcome, found.reason) == (Outcome.HIT, "assembled")
    assert found.winner == d(64 if removed == 32 else 32)


def test_lists_that_overlap_are_put_together(desk: Desk) -> None:
    desk.tune(question(16, 32), measured(16, 3.0), measured(32, 1.0))
    desk.tune(question(64, 128), measured(64, 0.5), measured(128, 2.0))
    found = desk.resolve(question(16, 128, 32))
    assert (found.outcome, found.winner) == (Outcome.HIT, d(32))


def test_of_two_measurements_the_newest_counts(desk: Desk) -> None:
    desk.tune(question(16, 32), measured(16, 1.0, at=10), measured(32, 2.0, at=10))
    desk.tune(question(16, 64), measured(16, 9.0, at=20), measured(64, 8.0, at=20))
    found = desk.resolve(question(16, 32, 64))
    assert (found.winner, found.known[d(16)].times) == (d(32), (9.0,))


def test_ties_go_to_the_first_in_the_live_order(desk: Desk) -> None:
    desk.record(question(16, 32), measured(16, 1.0, 1.0), measured(32, 1.0, 1.0))
    assert desk.resolve(question(32, 16)).winner == d(32)


# -- provisional ---------------------------------------------------------------------------------


def test_a_verdict_of_another_work_class_is_provisional(desk: Desk) -> None:
    desk.tune(question(16, 32, work_class="c05"), *small_then_big("c05"))
    before = desk.names()
    found = desk.another().resolve(question(16, 32))
    assert (found.outcome, found.winner) == (Outcome.PROVISIONAL, d(16))
    assert (found.reason, found.saved_s) == ("work_class", 9.0)
    assert desk.names() == before  # nothing was learned about this size


def test_its_winner_must_be_a_live_candidate(desk: Desk) -> None:
    desk.tune(question(16, 32, work_class="c05"), *small_then_big("c05"))
    assert desk.resolve(question(64, 16)).outcome is Outcome.PROVISIONAL
    assert desk.resolve(question(64, 32)).outcome is Outcome.MISS


@pytest.mark.parametrize(
    ("asked", "known", "expected"),
    [
        ("c03", {"c02": 16, "c05": 32}, 16),
        ("c03", {"c01": 16, "c04": 32}, 32),
        # As far apart: that of more work loses little on less.
        ("c03", {"c02": 16, "c04": 32}, 32),
        ("c03", {"c04": 32, "c02": 16}, 32),
        # The nearest may be unusable.
        ("c03", {"c02": 64, "c09": 32}, 32),
        ("c10", {"c09": 16, "c02": 32}, 16),
        # An unknown size is farther than any known one, both ways.
        ("c03", {"cxx": 16, "c15": 32}, 32),
        ("c03", {"cxx": 16}, 16),
        ("cxx", {"c00": 16}, 16),
    ],
)
def test_the_nearest_work_class(
    desk: Desk, asked: str, known: dict[str, int], expected: int
) -> None:
    for work_class, best in known.items():
        blocks = (best, 128)
        desk.tune(
            question(*blocks, work_class=work_class),
            measured(best, 1.0, work_class=work_class),
            measured(128, 2.0, work_class=work_class),
        )
    found = desk.resolve(question(16, 32, work_class=asked))
    assert (found.outcome, found.winner) == (Outcome.PROVISIONAL, d(expected))


def test_between_two_work_classes_the_winner_that_is_expected_to_be_the_fastest(
    desk: Desk,
) -> None:
    def tuned(work_class: str, *ms: float) -> None:
        times = [
            measured(block, one, work_class=work_class)
            for block, one in zip((16, 32, 64), ms, strict=True)
        ]
        desk.tune(question(16, 32, 64, work_class=work_class), *times)

    tuned("c02", 1.0, 1.1, 2.0)
    tuned("c04", 20.0, 11.0, 10.0)
    asked = question(16, 32, 64, work_class="c03")
    assert desk.another().resolve(asked).winner == asked.digests[2]  # the larger one's
    tuned("c09", 3.0, 1.0, 2.0)
    found = desk.another().resolve(asked)
    assert (found.outcome, found.winner) == (Outcome.PROVISIONAL, asked.digests[1])
    assert found.beside["c04"] == dict(zip(asked.digests, (20.0, 11.0, 10.0), strict=True))
    assert found.beside.keys() == {"c02", "c04", "c09"}
    prior = desk.resolver.expected(asked, between("c03", found.beside))
    assert prior.between is not None
    assert prior.between.on_both_sides
    assert min(prior.times, key=prior.times.__getitem__) == 1


def test_at_one_work_class_the_same_list_counts_most_then_the_newest(desk: Desk) -> None:
    def at(now: float, *blocks: int, best: int) -> None:
        desk.clock.now = now
        times = [measured(b, 1.0 if b == best else 2.0, work_class="c05") for b in blocks]
        desk.tune(question(*blocks, work_class="c05"), *times)

    at(10, 16, 128, best=16)
    at(20, 32, 128, best=32)
    assert desk.resolve(question(16, 32)).winner == d(32)
    at(5, 16, 32, best=16)
    assert desk.resolve(question(16, 32)).winner == d(16)


def test_measurements_of_another_work_class_are_not_counted(desk: Desk) -> None:
    desk.record(question(16, 32, work_class="c05"), *small_then_big("c05"))
    assert desk.resolve(question(16, 32)).outcome is Outcome.MISS
    assert desk.resolve(question(16, 32, work_class="c05")).outcome is Outcome.HIT


def taken_over(desk: Desk, asked: Question) -> str:
    known = {m.candidate: m for m in small_then_big("cxx")}
    return desk.resolver.publish(asked, known, d(16), origin="stock-cache", tune_s=0.0)


def test_what_was_taken_over_from_triton_is_provisional_at_every_size(desk: Desk) -> None:
    taken_over(desk, question(16, 32))
    for work_class in ("c00", "c03", "c12", "cxx"):
        found = desk.another().resolve(question(16, 32, work_class=work_class))
        assert (found.outcome, found.winner) == (Outcome.PROVISIONAL, d(16))
        assert (found.reason, found.saved_s) == ("stock_cache", 0.0)
    assert [name[:4] for name in desk.names()] == ["cxx."]


def test_what_was_measured_counts_more_than_what_was_taken_over(desk: Desk) -> None:
    taken_over(desk, question(16, 32))
    desk.tune(question(16, 32, work_class="c09"), *small_then_big("c09", 3.0))
    found = desk.resolve(question(16, 32))
    assert (found.winner, found.reason) == (d(32), "work_class")


def test_taking_over_leaves_measurements_of_this_size_alone(desk: Desk) -> None:
    desk.record(question(16, 32), measured(16, 1.0))
    taken_over(desk, question(16, 32))
    assert any(name.endswith(".measured.json") for name in desk.names())


# -- failures ------------------------------------------------------------------------------------


def test_a_candidate_that_failed_is_not_tried_again_for_a_while(desk: Desk) -> None:
    asked = question(16, 32)
    desk.clock.now = 1000.0
    desk.record(asked, measured(16, failed="did not run", at=1000.0))
    desk.clock.now = 1000.0 + FAILURE_HOLDS_S
    assert set(desk.resolve(asked).known) == {d(16)}
    desk.clock.now += 1
    assert desk.resolve(asked).known == {}
    # What ran holds for ever.
    desk.record(asked, measured(32, 1.0, at=1000.0))
    desk.clock.now += 100 * FAILURE_HOLDS_S
    assert set(desk.resolve(asked).known) == {d(32)}


def test_a_failure_of_a_clock_that_was_ahead_does_not_hold_for_years(desk: Desk) -> None:
    asked = question(16, 32)
    desk.clock.now = 1000.0
    for ahead, held in ((FAILURE_HOLDS_S, {d(16)}), (FAILURE_HOLDS_S + 1, set()), (1e9, set())):
        desk.record(asked, measured(16, failed="did not run", at=1000.0 + ahead))
        assert set(desk.resolve(asked).known) == held


def test_a_later_success_replaces_a_failure_and_the_other_way_round(desk: Desk) -> None:
    asked = question(16, 32)
    desk.record(asked, measured(16, failed="did not run", at=10), measured(16, 1.0, at=20))
    assert desk.resolve(asked).known[d(16)].failed is None


def test_a_failed_candidate_never_wins(desk: Desk) -> None:
    asked = question(16, 32)
    desk.record(asked, measured(16, failed="did not run", at=2000), measured(32, 9.0))
    found = desk.resolve(asked)
    assert (found.outcome, found.winner) == (Outcome.HIT, d(32))


def test_if_all_failed_the_caller_is_told(desk: Desk) -> None:
    asked = question(16, 32)
    failures = [measured(block, failed="did not run", at=2000) for block in (16, 32)]
    desk.record(asked, *failures)
    found = desk.resolve(asked)
    assert (found.outcome, found.winner, found.reason) == (Outcome.MISS, None, "all_failed")
    assert set(found.known) == {d(16), d(32)}


# -- times that say nothing ----------------------------------------------------------------------


def test_a_time_of_exactly_zero_is_never_written(desk: Desk) -> None:
    asked = question(16, 32)
    times = (measured(16, 1.0), measured(32, 0.0))
    assert desk.tune(asked, *times) == d(32)
    assert [name.split(".", 2)[2] for name in desk.names()] == ["measured.json"]
    assert desk.events.problems() == ["not_storable", "not_storable"]
    found = desk.another().resolve(asked)
    assert (found.outcome, set(found.known)) == (Outcome.PARTIAL, {d(16)})


def test_what_is_taken_over_with_times_of_zero_is_used_and_not_published(desk: Desk) -> None:
    known = {m.candidate: m for m in (measured(16, 0.0), measured(32, 0.0))}
    asked = question(16, 32)
    winner = desk.resolver.publish(asked, known, d(16), origin="stock-cache", tune_s=0.0)
    assert (winner, desk.names()) == (d(16), [])


def test_a_verdict_is_not_removed_for_one_that_says_nothing(desk: Desk) -> None:
    asked = question(16, 32)
    desk.tune(asked, *small_then_big("c03"))
    known = {m.candidate: m for m in (measured(16, 1.0), measured(32, 0.0))}
    assert not desk.resolver.replace(asked, known, d(32), wrong=d(16))
    assert desk.another().resolve(asked).winner == d(16)


def test_a_verdict_of_zeros_is_set_aside_once_and_tuned_once(desk: Desk) -> None:
    asked = question(16, 32)
    desk.tune(asked, *small_then_big("c03"))
    name = verdict_name(asked)
    data = desk.store.get(name)
    assert data is not None
    verdict = msgspec.structs.replace(
        unpack(data, Verdict), measurements=[measured(16, 0.0), measured(32, 0.0)]
    )
    body = msgspec.json.encode(verdict) + b"\n"
    head = {"schema": "tuneonce.verdict/1", "sha256": hashlib.sha256(body).hexdigest()}
    desk.store.put(name, msgspec.json.encode(head) + b"\n" + body)
    process = desk.another()
    assert process.resolve(asked).outcome is Outcome.MISS
    assert process.events.problems() == ["record_unreadable"]
    process.tune(asked, *small_then_big("c03"))
    assert desk.another().resolve(asked).outcome is Outcome.HIT


# -- publishing ----------------------------------------------------------------------------------


def test_what_the_first_verdict_lacks_is_kept(desk: Desk) -> None:
    asked = question(16, 32, 64)
    other = desk.another()
    # It knew only two, the third was gone from its list of measurements.
    known = {m.candidate: m for m in small_then_big("c03")}
    other.resolver.publish(asked, known, d(16), origin="measured", tune_s=1.0)
    assert desk.tune(asked, *THREE) == d(16)
    left = [n for n in desk.names() if n.endswith(".measured.json")]
    assert left == [measurement_name(asked, 64).rpartition("/")[2]]


def test_the_first_published_wins(desk: Desk) -> None:
    asked = question(16, 32)
    other = desk.another()
    assert desk.tune(asked, *small_then_big("c03", 1.0)) == d(16)
    assert other.tune(asked, *small_then_big("c03", 3.0)) == d(16)
    assert desk.another().resolve(asked).winner == d(16)
    assert len(desk.names()) == 1


def test_the_first_published_wins_when_two_assemble(store: Store) -> None:
    asked = question(16, 32)

    class Overtaken(FaultyStore):
        """Between the look for a verdict and its publication, another process publishes."""

        def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
            if not self.faults:
                self.faults["none"] = StoreError("")
                Desk(self.inner).tune(asked, *small_then_big("c03", 3.0))
            return super().put_if_absent(name, data, durable=durable)

    Desk(store).record(asked, *small_then_big("c03", 1.0))
    found = Desk(Overtaken(store)).resolve(asked)
    assert (found.outcome, found.winner) == (Outcome.HIT, d(32))


def test_loose_measurements_are_removed_once_a_verdict_holds_them(desk: Desk) -> None:
    asked = question(16, 32)
    desk.record(asked, *small_then_big("c03"))
    desk.record(question(16, 32, work_class="c04"), *small_then_big("c04"))
    desk.record(question(128), measured(128, 1.0))
    assert len(desk.names()) == 5
    desk.tune(asked, *small_then_big("c03"))
    left = [name for name in desk.names() if name.endswith(".measured.json")]
    assert sorted(left) == sorted(
        [f"c04.{d(16)}.measured.json", f"c04.{d(32)}.measured.json", f"c03.{d(128)}.measured.json"]
    )


def test_loose_measurements_stay_while_no_verdict_is_stored(store: Store) -> None:
    asked = question(16, 32)
    faulty = FaultyStore(store, put_if_absent=StoreFull("full"))
    Desk(faulty).tune(asked, *small_then_big("c03"))
    assert set(Desk(store).resolve(asked).known) == {d(16), d(32)}


def test_a_name_taken_by_an_unreadable_record_is_freed_and_used(desk: Desk) -> None:
    asked = question(16, 32)
    name = asked.key.verdict_name("c03", asked.digests)
    desk.store.put(name, b"garbage")
    assert desk.tune(asked, *small_then_big("c03")) == d(16)
    assert desk.events.problems() == ["record_unreadable"]
    assert desk.another().resolve(asked).outcome is Outcome.HIT


def test_loose_measurements_stay_if_the_name_cannot_be_freed(store: Store) -> None:
    asked = question(16, 32)
    name = asked.key.verdict_name("c03", asked.digests)
    store.put(name, b"garbage")
    desk = Desk(FaultyStore(store, set_aside=StoreReadOnly("no")))
    assert desk.tune(asked, *small_then_big("c03")) == d(16)
    assert len(desk.names()) == 3
    assert desk.events.problems() == ["record_unreadable"]


@pytest.mark.parametrize("time", [float("inf"), float("nan")])
def test_a_time_that_is_none_is_not_stored(desk: Desk, time: float) -> None:
    desk.record(question(16), measured(16, time))
    assert desk.names() == []
    assert desk.events.problems() == ["not_storable"]


def test_a_record_that_is_too_large_is_not_stored(desk: Desk) -> None:
    asked = dataclasses.replace(question(16, 32), about={"note": "x" * 5_000_000})
    assert desk.tune(asked, *small_then_big("c03")) == d(16)
    assert desk.events.problems() == ["not_storable"]
    assert len(desk.names()) == 2  # the measurements


def test_publishing_a_size_that_json_cannot_hold_raises_nothing(desk: Desk) -> None:
    asked = dataclasses.replace(question(16, 32), programs=2**200)
    assert desk.tune(asked, *small_then_big("c03")) == d(16)


# -- events --------------------------------------------------------------------------------------


def test_a_miss_tells_what_was_asked_for(desk: Desk) -> None:
    asked = question(16, 32)
    desk.resolver.report(asked, desk.resolve(asked))
    [event] = desk.events.seen
    assert (event["kernel"], event["outcome"]) == ("kernels:add", "miss")
    assert (event["work_class"], event["key"]) == ("c03", asked.key.digest)
    assert event["parts"] == asked.key.parts
    assert event["candidates"] == {d(16): "BLOCK=16 num_warps=4", d(32): "BLOCK=32 num_warps=4"}


def test_a_hit_tells_little(desk: Desk) -> None:
    asked = question(16, 32, 64)
    desk.tune(asked, *THREE)
    desk.resolver.report(asked, desk.resolve(asked))
    [event] = desk.events.seen
    assert (event["outcome"], event["saved_s"], event["reason"]) == ("hit", 9.0, None)
    assert "parts" not in event
    assert "candidates" not in event


# -- a verdict that is proven wrong --------------------------------------------------------------

ASKED = question(64, 128, 256)
OLD, NEW = d(64), d(256)
NAME = ASKED.key.verdict_name(ASKED.work_class, ASKED.digests)
THEN = {c.candidate: c for c in (measured(64, 0.1), measured(128, 0.2), measured(256, 0.3))}
NOW = {
    c.candidate: msgspec.structs.replace(c, method="recheck")
    for c in (measured(64, 0.3), measured(128, 0.25), measured(256, 0.2))
}


def resolver(store: Store, events: RememberedEvents | None = None) -> Resolver:
    return Resolver(store, events or RememberedEvents(), clock=lambda: 5000.0)


@pytest.fixture
def published() -> MemoryStore:
    """A store that holds the verdict which is proven wrong."""
    filled = MemoryStore()
    resolver(filled).publish(ASKED, THEN, OLD, origin="measured", tune_s=7.5)
    return filled


def verdict(store: Store) -> Verdict:
    data = store.get(NAME)
    assert data is not None
    return unpack(data, Verdict)


def test_a_wrong_winner_is_replaced(published: MemoryStore) -> None:
    assert resolver(published).replace(ASKED, NOW, NEW, wrong=OLD)
    now = verdict(published)
    assert (now.winner, now.origin, now.tune_s) == (NEW, "rechecked", 7.5)
    assert {m.candidate: m.times for m in now.measurements} == {c: m.times for c, m in NOW.items()}
    assert list(published.list("")) == [NAME]
    resolution = resolver(published).resolve(ASKED)
    assert (resolution.outcome, resolution.winner) == (Outcome.HIT, NEW)
    assert resolution.saved_s == 7.5


def sighting(**classes: int) -> Sighting:
    """What one tuning saw, by blocks: ``b64=0``."""
    seen = {d(int(name[1:])): number for name, number in classes.items()}
    return Sighting(64, 1.0, 4, seen, {}, [], False)


def test_what_was_seen_of_outputs_outlives_the_winner() -> None:
    store, seen = MemoryStore(), sighting(b64=0, b256=1)
    resolver(store).publish(ASKED, THEN, OLD, origin="measured", tune_s=7.5, sightings=[seen])
    assert resolver(store).replace(ASKED, NOW, NEW, wrong=OLD)
    assert verdict(store).sightings == [seen]


def test_what_was_seen_at_other_sizes_and_over_other_lists_is_put_together() -> None:
    store, one, other = MemoryStore(), sighting(b64=0, b128=0), sighting(b64=0, b128=1)
    for asked, seen in (
        (dataclasses.replace(ASKED, work_class="c09"), one),
        (question(64, 128), other),
        (question(64, 128, 256, n=2), sighting(b64=0, b128=-1)),  # another key
    ):
        known = {m.candidate: m for m in (measured(64, 0.1), measured(128, 0.2))}
        resolver(store).publish(asked, known, OLD, origin="measured", tune_s=1.0, sightings=[seen])
    found = resolver(store).resolve(ASKED)
    assert sorted(found.sightings, key=str) == sorted([one, other], key=str)


def test_a_verdict_that_says_something_else_by_now_is_left(published: MemoryStore) -> None:
    before = published.get(NAME)
    assert not resolver(published).replace(ASKED, NOW, NEW, wrong=d(128))
    assert not resolver(published).replace(ASKED, NOW, NEW, wrong=None)
    assert published.get(NAME) == before


def test_a_verdict_that_says_so_already_is_left(published: MemoryStore) -> None:
    assert resolver(published).replace(ASKED, NOW, NEW, wrong=OLD)
    before = published.get(NAME)
    assert not resolver(published).replace(ASKED, NOW, NEW, wrong=OLD)
    assert published.get(NAME) == before


def test_where_there_is_no_verdict_it_is_put() -> None:
    store = MemoryStore()
    assert resolver(store).replace(ASKED, NOW, NEW, wrong=OLD)
    assert (verdict(store).origin, verdict(store).tune_s) == ("rechecked", 6.0)


def test_whoever_publishes_while_a_verdict_is_replaced_wins(published: MemoryStore) -> None:
    other = pack(msgspec.structs.replace(verdict(published), winner=d(128)))

    class Racing(FaultyStore):
        def delete_if(self, name: str, expected: bytes) -> bool:
            gone = super().delete_if(name, expected)
            self.inner.put_if_absent(NAME, other)
            return gone

    assert not resolver(Racing(published)).replace(ASKED, NOW, NEW, wrong=OLD)
    assert published.get(NAME) == other


def test_a_change_before_the_wrong_one_is_removed_stays(published: MemoryStore) -> None:
    other = pack(msgspec.structs.replace(verdict(published), published_at=1.0))

    class Racing(FaultyStore):
        def delete_if(self, name: str, expected: bytes) -> bool:
            self.inner.put(NAME, other)
            return super().delete_if(name, expected)

    assert not resolver(Racing(published)).replace(ASKED, NOW, NEW, wrong=OLD)
    assert published.get(NAME) == other


def test_a_verdict_that_cannot_be_read_is_not_replaced(published: MemoryStore) -> None:
    published.put(NAME, b"half a rec")
    assert not resolver(published).replace(ASKED, NOW, NEW, wrong=OLD)
    assert published.get(NAME) == b"half a rec"


@pytest.mark.parametrize("operation", ["get", "delete_if", "put_if_absent"])
def test_a_store_that_fails_replaces_nothing(published: MemoryStore, operation: str) -> None:
    events = RememberedEvents()
    fault = StoreUnavailable if operation == "get" else StoreReadOnly
    faulty = FaultyStore(published, **{operation: fault("no")})
    assert not resolver(faulty, events).replace(ASKED, NOW, NEW, wrong=OLD)
    assert events.problems() == ["store_failed"]


# -- any history ---------------------------------------------------------------------------------

BLOCKS = st.sampled_from([16, 32, 64, 128])
LISTS = st.lists(BLOCKS, min_size=1, max_size=4, unique=True)
STEPS = st.lists(
    st.tuples(LISTS, st.sampled_from(["c01", "c03", "cxx"]), st.integers(0, 4)), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_whatever_happened_before(steps: list[tuple[list[int], str, int]], random: Any) -> None:
    """A winner is always live, and no candidate is ever measured twice at one work class."""
    store = MemoryStore()
    done: set[tuple[str, str]] = set()
    for blocks, work_class, kill_after in steps:
        desk = Desk(store)
        asked = question(*blocks, work_class=work_class)
        found = desk.resolve(asked)
        known = dict(found.known)
        if found.winner is not None:
            assert found.winner in asked.digests
            continue
        for count, block in enumerate(blocks):
            if d(block) in known:
                continue
            if count > kill_after:
                break
            assert (work_class, d(block)) not in done
            done.add((work_class, d(block)))
            one = measured(block, 1.0 + random.random(), work_class=work_class)
            known[d(block)] = one
            desk.record(asked, one)
        else:
            best = choose(asked.digests, known)
            assert best is not None
            winner = desk.resolver.publish(asked, known, best, origin="measured", tune_s=1.0)
            assert winner in asked.digests
            again = Desk(store).resolve(asked)
            assert (again.outcome, again.winner) == (Outcome.HIT, winner)
        assert desk.events.problems() == []


# -- bounds --------------------------------------------------------------------------------------


def large(asked: Question, work_class: str, blocks: int, size: int) -> tuple[str, bytes]:
    """A verdict of about `size` bytes over so many candidates, and its name."""
    times = [measured(b, 1.0 + b, work_class=work_class) for b in range(1, blocks + 1)]
    listed = [m.candidate for m in times]
    verdict = Verdict(
        key=list(asked.key.parts),
        about={"note": "x" * size},
        work_class=work_class,
        programs=64,
        candidates=listed,
        winner=listed[0],
        measurements=times,
        origin="measured",
        tune_s=1.0,
        compile_s=1.0,
        published_at=1.0,
        tuneonce="0.1",
    )
    return asked.key.verdict_name(work_class, listed), pack(verdict)


@pytest.mark.parametrize("size", [10, 900_000])
def test_what_lies_beside_a_key_is_read_within_bounds(size: int) -> None:
    store = Reading()
    asked = question(1001, 1002)
    for number in range(1, 200):
        store.put(*large(asked, f"c{number % 20:02d}", number, size if number < 70 else 10))
    for number in range(3000):
        store.put(f"{asked.key.directory}/c04.{number:016x}.measured.json", b"none")
    desk = Desk(store)
    assert desk.resolve(asked).outcome is Outcome.MISS
    assert store.reads <= 1 + 32 + 2
    assert store.bytes <= 6 * 1024 * 1024
    store.reads = store.bytes = store.lists = 0
    desk.resolver.expected(asked)
    assert store.reads <= 24
    assert store.bytes <= 6 * 1024 * 1024


def test_own_measurements_are_found_beside_those_of_other_sizes() -> None:
    store = Reading()
    asked = question(16, 32, 64)
    for block in range(1, 500):
        Desk(store).record(
            question(block, work_class="c09"), measured(block, 1.0, work_class="c09")
        )
    Desk(store).record(asked, *THREE[:2])
    store.reads = 0
    assert set(Desk(store).resolve(asked).known) == {d(16), d(32)}
    assert store.reads == 3


# -- what is read before it is asked for ---------------------------------------------------------


def test_what_was_read_before_answers_once_without_the_store(store: Store) -> None:
    asked = question(16, 32, 64)
    Desk(store).tune(asked, *THREE)
    counted = FaultyStore(store)
    resolver = Resolver(counted, RememberedEvents())
    resolver.prefetch([verdict_name(asked)] * 2, until=math.inf)
    assert (resolver.prefetched, len(counted.calls)) == (1, 1)
    assert resolver.resolve(asked).winner == d(32)
    assert len(counted.calls) == 1
    resolver.prefetch([verdict_name(asked)], until=math.inf)
    assert len(counted.calls) == 1
    resolver.resolve(asked)
    assert len(counted.calls) == 2


def test_what_a_launch_asks_for_while_it_is_read_is_not_kept() -> None:
    """It would answer a later question, with what has been replaced by then."""
    asked = question(16, 32, 64)

    class Meanwhile(MemoryStore):
        resolver: Resolver | None = None

        def get(self, name: str) -> bytes | None:
            if self.resolver is not None:
                resolver, self.resolver = self.resolver, None
                assert resolver.resolve(asked).winner == d(32)
            return super().get(name)

    store = Meanwhile()
    Desk(store).tune(asked, *THREE)
    store.resolver = resolver = Resolver(store, RememberedEvents())
    resolver.prefetch([verdict_name(asked)], until=math.inf)
    assert resolver._prefetched == {}
