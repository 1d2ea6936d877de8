"""A key's winners over its work classes, and what one verdict for all would cost."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from tests.factories import H100, NOON, make_key, put_loose, put_verdict
from tests.fakes import candidate
from tuneonce.inspect.listing import sheets
from tuneonce.inspect.over_classes import OneForAll, OverClasses, over_classes
from tuneonce.store.base import Store
from tuneonce.store.memory import MemoryStore

Times = Mapping[int, Sequence[float]]

SMALL: Times = {64: (0.01,), 128: (0.012,), 256: (0.02,)}
MIDDLE: Times = {64: (0.3,), 128: (0.2,), 256: (0.21,)}
LARGE: Times = {64: (), 128: (5.0,), 256: (4.0,)}


def found_in(store: Store) -> list[OverClasses]:
    return over_classes(sheets(store, kernel="add").entries)


def compared(**classes: Times) -> OverClasses:
    """One key with such a verdict at each class."""
    store = MemoryStore()
    for work_class, times in classes.items():
        put_verdict(store, make_key(), times, work_class=work_class)
    (one,) = found_in(store)
    return one


def losses(one: OneForAll | None) -> dict[str, float | str | None]:
    """By class, how it failed where it did."""
    assert one is not None
    return {loss.work_class: loss.failed or loss.loss for loss in one.losses}


def test_a_key_with_verdicts_of_several_classes() -> None:
    key = compared(c08=LARGE, c00=SMALL, c05=MIDDLE)
    assert (key.kernel, key.key_text) == ("kernels:add", "n=64 x=bf16")
    assert key.digest == make_key().digest
    assert [(c.work_class, c.programs_class) for c in key.classes] == [
        ("c00", (1, 3)),
        ("c05", (1024, 4095)),
        ("c08", (65536, 262143)),
    ]
    assert [(c.winner[:9], c.winner_ms, c.origin) for c in key.classes] == [
        ("BLOCK=64 ", 0.01, "measured"),
        ("BLOCK=128", 0.2, "measured"),
        ("BLOCK=256", 4.0, "measured"),
    ]
    assert [(c.candidates, c.measured, c.failed) for c in key.classes] == [
        (3, 3, 0),
        (3, 3, 0),
        (3, 3, 1),
    ]


def test_the_best_for_all_has_the_smallest_of_the_largest_losses() -> None:
    key = compared(c00=SMALL, c05=MIDDLE, c08=LARGE)
    assert key.best is not None
    assert key.best.candidate == candidate(128).digest
    assert key.best.config == "BLOCK=128 num_warps=4"
    assert losses(key.best) == {
        "c00": pytest.approx(0.2),
        "c05": 0.0,
        "c08": pytest.approx(0.25),
    }
    assert key.best.worst == pytest.approx(0.25)
    assert key.best.not_measured == 0


def test_of_two_with_one_largest_loss_that_with_the_smaller_sum() -> None:
    one = {64: (1.0,), 128: (1.5,), 256: (1.5,)}
    other = {64: (2.0,), 128: (1.0,), 256: (1.2,)}
    best = compared(c00=one, c01=other).best
    assert best is not None
    assert best.candidate == candidate(128).digest


def test_the_winner_of_the_smallest_class_at_all_classes() -> None:
    key = compared(c00=SMALL, c05=MIDDLE, c08=LARGE)
    assert key.of_smallest.candidate == candidate(64).digest
    assert losses(key.of_smallest) == {
        "c00": 0.0,
        "c05": pytest.approx(0.5),
        "c08": "did not run",
    }
    assert key.of_smallest.worst == pytest.approx(0.5)
    assert key.of_smallest.not_measured == 1


def test_a_candidate_that_was_not_measured_at_a_class_is_no_best() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, {64: (0.01,), 128: (0.012,)}, work_class="c00")
    put_verdict(store, key, {128: (0.2,), 256: (0.1,)}, work_class="c05")
    (one,) = found_in(store)
    assert losses(one.best) == {"c00": pytest.approx(0.2), "c05": pytest.approx(1.0)}
    assert losses(one.of_smallest) == {"c00": 0.0, "c05": None}


def test_no_best_where_no_candidate_was_measured_everywhere() -> None:
    key = compared(c00={64: (0.01,), 128: ()}, c05={64: (), 128: (0.1,)})
    assert key.best is None
    assert losses(key.of_smallest) == {"c00": 0.0, "c05": "did not run"}


def test_a_loss_below_zero_where_the_first_of_the_list_won_a_tie() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, SMALL, work_class="c00")
    put_verdict(store, key, {64: (0.099,), 128: (0.1,)}, winner=128, work_class="c01")
    (one,) = found_in(store)
    assert losses(one.of_smallest)["c01"] == pytest.approx(-0.01)


def test_launches_of_an_unknown_size_are_the_last_class() -> None:
    key = compared(cxx=MIDDLE, c12=LARGE, c02=SMALL)
    assert [c.work_class for c in key.classes] == ["c02", "c12", "cxx"]
    assert key.classes[-1].programs_class is None


def test_keys_of_one_class_and_what_is_not_finished_are_left_out() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, SMALL, work_class="c00")
    put_loose(store, key, 64, 0.4, work_class="c05")
    put_verdict(store, make_key(tuning={"n": 1}), MIDDLE, work_class="c05")
    put_verdict(store, make_key(product=H100), MIDDLE, work_class="c05")
    assert found_in(store) == []


def test_what_was_taken_over_from_triton_is_of_no_size() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, SMALL, work_class="c00")
    put_verdict(store, key, MIDDLE, work_class="cxx", origin="stock-cache")
    assert found_in(store) == []


def test_only_verdicts_whose_candidates_overlap_are_compared() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, {64: (0.1,)}, work_class="c00")
    put_verdict(store, key, {128: (0.1,)}, work_class="c05")
    assert found_in(store) == []


def test_of_two_lists_of_a_class_the_newer_counts() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, SMALL, work_class="c00", at=NOON + 5)
    put_verdict(store, key, {64: (0.9,), 128: (0.1,)}, work_class="c00", at=NOON)
    put_verdict(store, key, MIDDLE, work_class="c05", at=NOON - 5)
    (one,) = found_in(store)
    assert [(c.work_class, c.candidates) for c in one.classes] == [("c00", 3), ("c05", 3)]


def test_a_winner_without_its_measurement_says_nothing_of_losses() -> None:
    key = compared(c00={64: (0.01,), 128: (0.02,)}, c05=MIDDLE)
    assert key.best is not None
    store = MemoryStore()
    put_verdict(store, make_key(), {64: (), 128: (0.02,)}, winner=64, work_class="c00")
    put_verdict(store, make_key(), MIDDLE, work_class="c05")
    (one,) = found_in(store)
    assert one.classes[0].winner_ms is None
    assert one.best is None
    assert losses(one.of_smallest) == {"c00": "did not run", "c05": pytest.approx(0.5)}


def test_nothing_that_could_stand_for_all_loses_less_than_the_best() -> None:
    chance = random.Random(5)
    for _ in range(50):
        blocks = (32, 64, 128, 256)
        tables = {
            name: {block: (chance.uniform(1, 2),) for block in blocks} for name in ("c00", "c03")
        }
        key = compared(**tables)
        worst = {
            block: max(table[block][0] / min(table.values())[0] - 1 for table in tables.values())
            for block in blocks
        }
        assert key.best is not None
        assert key.best.worst == pytest.approx(min(worst.values()))
