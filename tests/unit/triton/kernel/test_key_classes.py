"""Several winners of one key, where Triton's own cache has room for one."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

from triton import Config

from tuneonce.model.key import Work
from tuneonce.triton.kernel.key_classes import KeyClasses, Measured

SMALL, LARGE, OTHER = Config({"BLOCK": 16}), Config({"BLOCK": 32}), Config({"BLOCK": 64})
KEY = (1, "torch.float32")


def made(*, single: bool = False) -> KeyClasses:
    autotuner = SimpleNamespace(keys=["n"], configs=[SMALL, LARGE])
    return KeyClasses(autotuner, KEY, single=single)


def elsewhere(call: Any) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_the_cache_holds_what_was_launched_last() -> None:
    classes, cache = made(), {}
    classes.put(cache, "c00", SMALL)
    classes.put(cache, "c02", LARGE)
    assert cache[KEY] is LARGE
    assert classes.switches(cache, LARGE, SMALL)
    assert cache[KEY] is SMALL
    assert {name: entry.config for name, entry in classes.winners.items()} == {
        "c00": SMALL,
        "c02": LARGE,
    }


@pytest.mark.parametrize("config", [OTHER, SMALL, None])
def test_what_the_program_puts_there_is_obeyed_even_if_it_is_a_winner_of_ours(config: Any) -> None:
    classes, cache = made(), {}
    classes.put(cache, "c00", SMALL)
    classes.put(cache, "c02", LARGE)
    assert not classes.switches(cache, config, LARGE)
    assert cache[KEY] is LARGE


def test_a_thread_that_was_interrupted_between_two_steps_is_not_taken_for_the_program() -> None:
    classes, cache = made(), {}
    classes.put(cache, "c00", SMALL)
    elsewhere(lambda: classes.put(cache, "c02", LARGE))
    cache[KEY] = SMALL  # as a thread leaves it that was overtaken
    assert classes.is_ours(SMALL)
    assert not classes.is_ours(OTHER)


@pytest.mark.parametrize(
    ("programs", "nearest"), [(1, SMALL), (5, LARGE), (16, LARGE), (70, LARGE), (None, LARGE)]
)
def test_a_size_that_was_not_met_runs_the_nearest_classs_winner(
    programs: int | None, nearest: Any
) -> None:
    classes, cache = made(), {}
    classes.put(cache, "c00", SMALL)
    classes.put(cache, "c02", LARGE)
    assert classes.for_now(Work(programs)) is nearest


def test_a_size_between_two_that_were_measured_runs_the_likeliest_winner() -> None:
    classes, cache = made(), {}
    for name, config in (("c00", SMALL), ("c02", LARGE), ("c08", OTHER)):
        classes.put(cache, name, config)
    ends = {"c00": {"s": 1.0, "l": 1.5, "o": 1.1}, "c02": {"s": 1.5, "l": 1.0, "o": 1.1}}
    assert classes.for_now(Work(5)) is LARGE
    classes.measured["c00"] = Measured("s", ends["c00"])
    assert classes.for_now(Work(5)) is LARGE
    classes.measured["c02"] = Measured("l", ends["c02"])
    assert classes.for_now(Work(5)) is LARGE
    classes.measured["c08"] = Measured("o", {"l": 2.0, "o": 1.0})
    assert classes.for_now(Work(5)) is OTHER
    assert classes.for_now(Work(2**30)) is OTHER
    # Another winner is not what was measured.
    classes.put(cache, "c08", SMALL)
    assert classes.for_now(Work(5)) is LARGE
    classes.end()
    assert classes.for_now(Work(5)) is None


def test_without_winners_none_is_near() -> None:
    assert made().for_now(Work(4)) is None


def test_one_winner_for_all_sizes_is_one_class() -> None:
    one, many = made(single=True), made()
    assert one.name(Work(1)) == one.name(Work(4096, 1)) == one.name(Work(None))
    assert many.name(Work(1)) != many.name(Work(4096))
    assert many.name(Work(1, 64)) != many.name(Work(1, 4096))


def test_a_winner_that_was_found_beside_takes_no_ones_place() -> None:
    classes, cache = made(), {}
    classes.offer(cache, SMALL)
    classes.offer(cache, LARGE)
    assert cache[KEY] is SMALL
    assert classes.is_ours(SMALL)


def test_when_the_program_decides_what_explores_is_told() -> None:
    classes, explored = made(), SimpleNamespace(overruled=False)
    classes.put({}, "c00", SMALL)
    classes.exploring["c02"] = explored
    classes.end()
    assert explored.overruled
    assert not classes.winners
    assert not classes.exploring
