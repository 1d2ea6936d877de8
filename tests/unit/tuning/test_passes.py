"""Passes over launches: each candidate once, whatever comes back late or never."""

from __future__ import annotations

from random import Random

from tuneonce.tuning.passes import Passes


def begun(*live: int) -> Passes:
    passes = Passes(Random(0), most=64)
    passes.go_on_with(live)
    return passes


def test_each_runs_once_in_a_pass_and_the_incumbent_between() -> None:
    passes = begun(1, 2, 5)
    assert {passes.next(2), passes.next(2)} == {1, 5}
    assert passes.number == 1
    passes.add(1, 1, 3.0)
    passes.add(1, 2, 4.0)
    passes.add(1, 2, 6.0)
    assert passes.whole == 0
    passes.add(1, 5, 1.0)
    assert passes.whole == 1
    assert passes.take() == [{1: 3.0, 2: 5.0, 5: 1.0}]
    assert passes.take() == []


def test_the_order_changes() -> None:
    passes = begun(*range(6))
    orders = set()
    for _ in range(8):
        orders.add(tuple(passes.next(0) for _ in range(5)))
        for position in range(6):
            passes.add(passes.number, position, 1.0)
    assert len(orders) > 4


def test_not_more_passes_begin_than_come_back() -> None:
    passes = begun(0, 1)
    assert [passes.next(0) for _ in range(4)] == [1, 1, None, None]
    passes.lose(1)
    assert passes.next(0) == 1
    passes.add(1, 1, 1.0)  # what comes late counts for nothing
    assert passes.take() == []


def test_what_is_out_is_waited_for_no_more() -> None:
    passes = begun(0, 1, 2)
    passes.next(0)
    passes.go_on_with([0, 2])
    assert passes.next(0) == 2
    passes.add(passes.number, 2, 1.0)
    passes.add(passes.number, 0, 1.0)
    assert [taken.keys() for taken in passes.take()] == [{0, 2}]


def test_the_incumbent_alone_makes_no_pass() -> None:
    assert begun(3).next(3) is None
    assert begun().next(3) is None


def test_of_the_incumbent_two_launches_are_timed_in_a_pass() -> None:
    passes = begun(0, 1)
    passes.next(0)
    assert [passes.wants(0, flying) for flying in (0, 1, 2, 2)] == [True, True, False, False]
    assert passes.wants(0, 0)  # neither came back, and without one the pass were never whole
    passes.add(1, 0, 1.0)
    assert not passes.wants(0, 0)
    passes.add(1, 1, 1.0)
    passes.next(0)
    assert passes.wants(0, 0)


def test_a_pass_does_not_wait_for_one_that_serves_no_more() -> None:
    passes = begun(0, 1)
    assert [passes.next(0), passes.next(0)] == [1, 1]  # and 0 between them, if it had gone on
    passes.add(1, 1, 1.0)
    passes.begin_anew()
    assert passes.next(1) == 0
    passes.add(3, 0, 1.0)
    passes.add(3, 1, 1.0)
    assert passes.take() == [{0: 1.0, 1: 1.0}]
