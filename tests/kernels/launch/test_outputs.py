"""What is kept and told of outputs, and what the next start makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

pytest.importorskip("triton")

from tests.kernels.numerics_lab import (
    BITS,
    CHECK,
    HONEST,
    OFF,
    RACE,
    TAIL,
    Bench,
    column_sums,
    ended_before_publishing,
)
from tests.kernels.pool_lab import tuner
from tuneonce.inspect.equal_bits import outputs_of
from tuneonce.model.codec import decode
from tuneonce.model.records import Verdict, unpack
from tuneonce.store.memory import MemoryStore
from tuneonce.triton.measure.outputs import looks
from tuneonce.tuning.race import RULES

HONEST_FOUR = [(2, HONEST), (4, HONEST), (8, HONEST), (16, HONEST)]
MIXED = [*HONEST_FOUR, (8, RACE), (8, TAIL)]


def verdicts(store: MemoryStore) -> list[Verdict]:
    return [
        unpack(store.get(name) or b"", Verdict)
        for name in store.list("")
        if name.endswith(".verdict.json")
    ]


def by_way(verdict: Verdict) -> dict[str, tuple[int, int]]:
    """What a verdict's candidates are, by their digests."""
    named = {m.candidate: dict(m.config) for m in verdict.measurements}
    return {d: (decode(c["BLOCK"]), decode(c["WRONG"])) for d, c in named.items()}


def tuned(store: MemoryStore, policies: Any, ways: Any = MIXED) -> tuple[Bench, Any]:
    with tuner(workers=0, store=store, policies=policies) as tuning:
        bench = Bench(column_sums, ways, tuning.gpu)
        bench.sums()
        return bench, tuning


def test_a_verdict_says_what_was_seen(warnings: Callable[[], list[str]]) -> None:
    store = MemoryStore()
    bench, tuning = tuned(store, CHECK)
    [verdict] = verdicts(store)
    ways = by_way(verdict)
    assert verdict.sightings is not msgspec.UNSET
    [seen] = verdict.sightings
    classes = {ways[d]: number for d, number in seen.classes.items()}
    assert classes[8, RACE] == -1
    assert classes[2, HONEST] == 0
    assert set(classes) == set(MIXED)
    assert {ways[d] for d in seen.wrong} == {(8, RACE), (8, TAIL)}
    assert seen.distances[verdict.candidates[MIXED.index((8, TAIL))]] == pytest.approx(0.2, rel=0.2)
    assert seen.programs == 1
    assert seen.size > 0
    assert not seen.disagrees
    # As failures, so that no start and no other version uses one of them.
    failed = {ways[m.candidate]: m.failed for m in verdict.measurements if m.failed}
    assert set(failed) == {(8, RACE), (8, TAIL)}
    assert all(reason.startswith("wrong: ") for reason in failed.values())

    # In events and, once for each, in warnings.
    [event] = tuning.of("outputs")
    assert (event["candidates"], event["ran"], event["looked_at"]) == (6, 6, 6)
    assert [text.split()[:2] for text in event["unsteady"]] == [["BLOCK=8", "WRONG=3"]]
    assert [text.split()[:2] for text in event["wrong"]] == [
        ["BLOCK=8", "WRONG=3"],
        ["BLOCK=8", "WRONG=1"],
    ]
    assert event["apart"] == event["wrong"]
    assert event["distances"][1] == pytest.approx(0.2, rel=0.2)
    assert event["left_out"] is None
    assert (event["fastest"].split()[0], event["fastest_ms"]) == ("BLOCK=16", 8.0)
    assert (event["constant"].split()[0], event["constant_ms"]) == ("BLOCK=2", 64.0)
    assert tuning.events.problems() == ["candidate_is_wrong"] * 2
    told = warnings()
    assert len(told) == 2
    assert all("column_sums" in text and "triton-" in text for text in told)
    assert len(tuning.of("measure")) == len(MIXED)

    # The next start uses the same winner, looks at nothing, and says nothing.
    again, tuning = tuned(store, CHECK)
    assert again.won == bench.won == (16, HONEST)
    assert len(again.launched) == 1
    assert tuning.of("outputs") == []


def test_a_list_that_grew_does_not_try_the_wrong_one_again() -> None:
    store = MemoryStore()
    tuned(store, CHECK, [*HONEST_FOUR, (8, TAIL)])
    bench, _ = tuned(store, OFF, [*HONEST_FOUR, (8, TAIL), (5, HONEST)])
    assert (8, TAIL) not in bench.launched


def test_candidates_that_disagree_are_told_of(warnings: Callable[[], list[str]]) -> None:
    store = MemoryStore()
    bench, tuning = tuned(store, CHECK, [(8, TAIL), *HONEST_FOUR])
    assert bench.won == (16, HONEST)
    [verdict] = verdicts(store)
    assert verdict.sightings is not msgspec.UNSET
    assert (verdict.sightings[0].wrong, verdict.sightings[0].disagrees) == ([], True)
    assert tuning.events.problems() == ["candidates_disagree"]
    [text] = warnings()
    assert "disagree" in text
    # The first candidate is the one that is far from the others.
    [event] = tuning.of("outputs")
    assert (event["wrong"], event["disagrees"]) == ([], True)
    assert [text.split()[:2] for text in event["apart"]] == [["BLOCK=8", "WRONG=1"]]


def test_times_of_a_tuning_that_was_interrupted_are_not_enough() -> None:
    """The wrong one is the fastest by them."""

    store, ways = MemoryStore(), [*HONEST_FOUR, (8, TAIL)]
    with ended_before_publishing():
        tuned(store, OFF, ways)
    bench, tuning = tuned(store, CHECK, ways)
    assert bench.won == (16, HONEST)
    assert tuning.of("resolve")[0]["reason"] == "not_looked_at"


def test_without_being_asked_nothing_is_kept_or_told() -> None:
    store = MemoryStore()
    _, tuning = tuned(store, OFF, HONEST_FOUR)
    [verdict] = verdicts(store)
    assert verdict.sightings is msgspec.UNSET
    assert tuning.of("outputs") == []
    assert "look_s" not in tuning.of("tune")[0]


def test_what_is_not_looked_at_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "MOST_BYTES", 100)
    store = MemoryStore()
    _, tuning = tuned(store, CHECK, HONEST_FOUR)
    [event] = tuning.of("outputs")
    assert (event["left_out"], event["looked_at"], event["ran"]) == ("too_large", 0, 4)
    # Without a look there is one candidate that is certain to have the first one's bits.
    assert (event["constant_ms"], event["fastest_ms"]) == (64.0, 8.0)
    assert verdicts(store)[0].sightings is msgspec.UNSET


def test_what_equal_bits_cost_is_told() -> None:
    store = MemoryStore()
    _, tuning = tuned(store, BITS, HONEST_FOUR)
    [tune], [event] = tuning.of("tune"), tuning.of("outputs")
    assert tune["winner_ms"] == event["constant_ms"] == 64.0
    assert event["fastest_ms"] == 8.0
    # The two were launched side by side for that, and it is in the verdict.
    [verdict] = verdicts(store)
    ways = by_way(verdict)
    samples = {ways[m.candidate]: m.samples for m in verdict.measurements}
    assert min(samples[2, HONEST], samples[16, HONEST]) > RULES.least_passes
    told = outputs_of(verdict, {m.candidate: m.times[0] for m in verdict.measurements})
    assert told is not None
    assert (told.cost, ways[told.constant or ""]) == (7.0, (2, HONEST))
