"""With ``TUNEONCE_NUMERICS=bits`` nothing outside of the first candidate's class is launched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
from triton.runtime.errors import OutOfResources

from tests.kernels.numerics_lab import (
    BITS,
    HONEST,
    OFF,
    Bench,
    column_sums,
    ended_before_publishing,
)
from tests.kernels.pool_lab import tuner
from tuneonce.errors import KeyNotTuned
from tuneonce.policies import OnMiss, Policies
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.memory import MemoryStore

# Blocks of 8 and of 16 rows round alike here, those of 2 and 4 each in its way.
WAYS = [(16, HONEST), (2, HONEST), (8, HONEST), (4, HONEST)]
FIRST = WAYS[0]


class Start:
    """One process's tuning over a store: the winner, what it wrote, and what was launched."""

    def __init__(
        self, store: MemoryStore, policies: Policies = BITS, ways: Any = WAYS, **more: Any
    ) -> None:
        with tuner(workers=0, store=store, policies=policies) as tuning:
            bench = Bench(column_sums, ways, tuning.gpu, **more)
            self.out = bench.sums()
            self.winner, self.launched = bench.won, bench.launched
            [*_, resolved] = tuning.of("resolve")
            self.outcome, self.problems = resolved["outcome"], tuning.events.problems()


def serving(policy: OnMiss) -> Policies:
    """As if everything were met by a request."""
    return replace(BITS, starting=policy)


def test_what_others_have_tuned_by_time_is_not_theirs_to_use() -> None:
    store = MemoryStore()
    fastest = Start(store, OFF)
    constant = Start(store)
    assert fastest.winner == WAYS[-1]
    assert constant.outcome == "miss"
    assert not torch.equal(fastest.out, constant.out)
    assert torch.equal(constant.out, Start(MemoryStore(), ways=WAYS[:1] + WAYS[2:]).out)
    # And neither changes what the others find.
    again, other = Start(store), Start(store, OFF)
    assert (again.outcome, again.winner, again.launched) == ("hit", constant.winner, [again.winner])
    assert (other.outcome, other.winner) == ("hit", fastest.winner)


def test_the_results_do_not_depend_on_which_candidates_are_fast() -> None:
    """Each order of times is another GPU, or another day."""
    found = []
    for ways in (WAYS, [FIRST, WAYS[3], WAYS[2], WAYS[1]], [FIRST, WAYS[2]]):
        found.append(Start(MemoryStore(), ways=ways).out)
    assert all(torch.equal(found[0], out) for out in found)


def test_nothing_is_expected_that_could_keep_the_first_candidate_from_being_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    stock = Resolver.expected

    def expected(*args: Any) -> Any:
        asked.append(args)
        return stock(*args)

    monkeypatch.setattr(Resolver, "expected", expected)
    Start(MemoryStore(), OFF)
    assert len(asked) == 1
    start = Start(MemoryStore())
    assert len(asked) == 1
    assert FIRST in start.launched


def test_another_first_candidate_is_another_key() -> None:
    store = MemoryStore()
    Start(store)
    other = Start(store, ways=WAYS[::-1])
    assert other.outcome == "miss"
    assert other.winner == WAYS[-1]


@pytest.mark.parametrize("policy", [OnMiss.EXPLORE, OnMiss.BORROW])
def test_what_serves_runs_the_first_candidate_and_nothing_else(policy: OnMiss) -> None:
    store = MemoryStore()
    Start(store, OFF)  # the nearest there is, which would be borrowed
    start = Start(store, serving(policy))
    assert start.launched == [FIRST]


def test_where_nothing_may_be_tuned_it_is_refused() -> None:
    with pytest.raises(KeyNotTuned):
        Start(MemoryStore(), serving(OnMiss.ERROR))


def test_times_of_a_tuning_that_was_interrupted_decide_nothing() -> None:
    """All were measured, and the process ended before it had published a winner."""

    stores = MemoryStore(), MemoryStore()
    for store, policies in zip(stores, (OFF, BITS), strict=True):
        with ended_before_publishing():
            Start(store, policies)
    # By times alone this is a winner for who asks for no more.
    assert len(Start(stores[0], OFF).launched) == 1
    start = Start(stores[1])
    assert start.outcome == "miss"
    assert start.winner in (FIRST, WAYS[2])


def test_while_a_graph_is_captured_the_first_is_launched() -> None:
    store = MemoryStore()
    with tuner(workers=0, store=store, policies=BITS) as tuning:
        bench = Bench(column_sums, WAYS, tuning.gpu)
        with tuning.gpu.capture():
            bench.sums()
        assert bench.launched == [FIRST]
        assert tuning.events.problems() == ["cold_in_capture"]


def test_a_stored_winner_that_does_not_run_is_not_replaced_by_any_other() -> None:
    store = MemoryStore()
    winner = Start(store).winner

    def fails(launched: list[Any]) -> None:
        if launched[-1] == winner:
            raise OutOfResources(2, 1, "shared memory")

    start = Start(store, serving(OnMiss.BORROW), on_launch=fails)
    assert start.launched == [winner, FIRST if winner != FIRST else WAYS[1]]
