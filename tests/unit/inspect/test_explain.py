"""The nearest record to a missed key, and what differs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import H100, H200, NOON, make_key, process, put_loose, put_verdict, resolved
from tests.fakes import FaultyStore
from tuneonce.inspect.explain import Miss, Why, explain
from tuneonce.model.codec import canonical, encode
from tuneonce.model.key import Key
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,)}
LATER = NOON + 1000


def why(store: Store, *history: list[dict[str, Any]], kernel: str = "add") -> Why:
    return explain(store, list(history), kernel=kernel, events="/events")


def miss_of(store: Store, key: Key, **event: Any) -> Miss:
    """The explanation of one miss, long after the records were written."""
    (miss,) = why(store, process(resolved(key, "miss", **event), started=LATER)).misses
    return miss


def texts(miss: Miss) -> list[str]:
    assert miss.nearest is not None
    return [difference.text for difference in miss.nearest.differences]


ONE = canonical(encode(1))
TWO = canonical(encode(2))


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        ({"source": "a" * 16}, {"source": "b" * 16}, "source differs"),
        ({"callee_helper": "a"}, {"callee_helper": "b"}, "callee.helper differs"),
        ({"global_SCALE": ONE}, {"global_SCALE": TWO}, "global.SCALE: 1 → 2"),
        ({"product": H100}, {"product": H200}, "world.product: NVIDIA H100 → NVIDIA H200"),
        (
            {"compiler": "triton-3.4.0-0"},
            {"compiler": "triton-3.6.0-1"},
            "world.compiler: triton-3.4.0-0 → triton-3.6.0-1",
        ),
        ({"tuning": {"n": 64}}, {"tuning": {"n": 65}}, "key.n: 64 → 65"),
        (
            {"tuning": {"x.dtype": "torch.float16"}},
            {"tuning": {"x.dtype": "torch.bfloat16"}},
            "key.x.dtype: torch.float16 → torch.bfloat16",
        ),
    ],
)
def test_the_part_that_changed_is_named(
    before: dict[str, Any], now: dict[str, Any], text: str
) -> None:
    store = MemoryStore()
    name = put_verdict(store, make_key(**before), TIMES)
    miss = miss_of(store, make_key(**now))
    assert texts(miss) == [text]
    assert miss.nearest is not None
    assert (miss.nearest.name, miss.nearest.published_at) == (name, NOON)


def test_json_keeps_both_sides_of_a_part() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(tuning={"n": 64}), TIMES)
    nearest = miss_of(store, make_key(tuning={"n": 65})).nearest
    assert nearest is not None
    (difference,) = nearest.differences
    assert (difference.part, difference.record, difference.asked) == (
        "key.n",
        canonical(encode(64)),
        canonical(encode(65)),
    )


def test_the_fewest_differing_parts_win() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(product=H100, tuning={"n": 64}), TIMES, at=NOON + 2)
    near = put_verdict(store, make_key(tuning={"n": 64}), TIMES, at=NOON)
    put_verdict(store, make_key(source="f" * 16, tuning={"n": 65}, product=H100), TIMES)
    miss = miss_of(store, make_key(tuning={"n": 65}))
    assert miss.nearest is not None
    assert miss.nearest.name == near


def test_a_changed_list_names_its_candidates() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, {64: (0.2,), 128: (0.1,), 256: (0.3,)})
    miss = miss_of(store, key, blocks=(64, 128, 512))
    assert texts(miss) == [
        "candidates: BLOCK=512 num_warps=4 is new",
        "candidates: BLOCK=256 num_warps=4 is gone",
    ]
    assert (miss.candidates, miss.measured_before) == (3, 2)


def test_a_changed_list_counts_as_one_part() -> None:
    store, key = MemoryStore(), make_key(tuning={"n": 64})
    under_the_key = put_verdict(store, key, {1: (0.2,), 2: (0.1,)})
    put_verdict(store, make_key(tuning={"n": 65}), TIMES, at=NOON + 5)
    miss = miss_of(store, key)
    assert miss.nearest is not None
    assert miss.nearest.name == under_the_key


def test_the_nearest_size_among_equals() -> None:
    store, key = MemoryStore(), make_key(tuning={"n": 64})
    put_verdict(store, key, TIMES, work_class="c06", at=NOON + 5)
    near = put_verdict(store, key, TIMES, work_class="c03")
    miss = miss_of(store, make_key(tuning={"n": 65}), work_class="c02")
    assert miss.nearest is not None
    assert miss.nearest.name == near
    assert texts(miss) == ["key.n: 64 → 65", "work class: 64–255 programs → 16–63 programs"]


def test_what_the_miss_produced_is_not_the_nearest_record() -> None:
    store, key, other = MemoryStore(), make_key(tuning={"n": 64}), make_key(tuning={"n": 65})
    events = process(resolved(key, "miss", t=1.0), resolved(other, "miss", t=10.0), started=NOON)
    put_verdict(store, key, TIMES, at=NOON + 8)
    put_verdict(store, other, TIMES, at=NOON + 18)
    first, second = why(store, events).misses
    assert first.nearest is None
    assert texts(second) == ["key.n: 64 → 65"]


def test_an_interrupted_tuning_is_counted_before_and_after_its_verdict() -> None:
    store, key = MemoryStore(), make_key()
    put_loose(store, key, 64, 0.2, at=NOON)
    event = resolved(key, "partial", reason="candidates_missing")
    (miss,) = why(store, process(event, started=LATER)).misses
    assert (miss.outcome, miss.candidates, miss.measured_before) == ("partial", 2, 1)
    put_verdict(store, key, TIMES, at=LATER + 5, measured_at=NOON)
    (miss,) = why(store, process(event, started=LATER)).misses
    assert miss.measured_before == 2
    assert miss.nearest is None


def test_ranks_that_miss_one_key_are_one_miss() -> None:
    store, key = MemoryStore(), make_key()
    ranks = [process(resolved(key, "miss"), started=LATER + rank, pid=rank) for rank in range(8)]
    twice = process(resolved(key, "miss"), resolved(key, "miss", t=2.0), started=LATER + 20)
    found = why(store, *ranks, twice)
    (miss,) = found.misses
    assert (miss.processes, found.processes) == (9, 9)
    assert miss.at == LATER + 22


def test_a_record_removed_and_tuned_again_is_not_explained_by_its_own_return() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES, at=LATER + 5)
    first = process(resolved(key, "miss"), started=NOON)
    second = process(resolved(key, "miss"), started=LATER)
    (miss,) = why(store, first, second).misses
    assert miss.nearest is None


def test_unreadable_records_are_part_of_the_explanation() -> None:
    store, key = MemoryStore(), make_key()
    detail = f"{key.directory}/c02.x.verdict.json: checksum"
    events = process(
        {"t": 0.5, "e": "problem", "what": "record_unreadable", "detail": detail},
        {"t": 0.5, "e": "problem", "what": "record_unreadable", "detail": "v1/another"},
        {"t": 0.6, "e": "problem", "what": "store_failed", "detail": "down"},
        resolved(key, "miss"),
        started=LATER,
    )
    (miss,) = why(store, events).misses
    assert miss.problems == [f"record_unreadable: {detail}", "store_failed: down"]


def test_no_process_has_met_it() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(), TIMES)
    found = why(store, process(resolved(make_key("mul"), "miss")))
    assert (found.state, found.last, found.misses, found.records) == ("not_met", None, [], 1)


def test_the_last_process_hit_and_with_what() -> None:
    store, key, gone = MemoryStore(), make_key(), make_key(tuning={"n": 1})
    put_verdict(store, key, TIMES)
    put_verdict(store, key, {64: (0.1,), 128: (0.2,)}, work_class="c05")
    events = process(
        resolved(key, "hit"), resolved(key, "hit"), resolved(gone, "hit"), started=LATER
    )
    found = why(store, events, process(resolved(make_key("mul"), "miss"), started=LATER + 5))
    assert found.state == "hit"
    assert found.misses == []
    assert found.last is not None
    assert found.last.outcomes == {"hit": 3}
    assert found.last.process.started == LATER
    assert [(used.key_text, used.winner) for used in found.last.used] == [
        ("n=64 x=bf16", "BLOCK=128 num_warps=4"),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        (["hit", "partial"], "miss"),
        (["hit", "provisional"], "provisional"),
        (["hit", "provisional", "not_persisted"], "not_persisted"),
        (["shared"], "provisional"),
        (["hit", "shared"], "hit"),
        (["strange"], "not_met"),
    ],
)
def test_the_worst_outcome_of_the_last_process(outcomes: list[str], state: str) -> None:
    events = process(*[resolved(make_key(), outcome) for outcome in outcomes])
    assert why(MemoryStore(), events).state == state


def test_a_provisional_winner_is_the_nearest_sizes() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES, work_class="c05")
    put_verdict(store, key, {64: (0.1,), 128: (0.2,)}, work_class="c00")
    events = process(resolved(key, "provisional", reason="work_class", work_class="c04"))
    found = why(store, events)
    assert found.last is not None
    (used,) = found.last.used
    assert (used.outcome, used.reason) == ("provisional", "work_class")
    assert used.winner == "BLOCK=128 num_warps=4"


@pytest.mark.parametrize("told", ["BLOCK=64 num_warps=4", "BLOCK=7 num_warps=4"])
def test_the_winner_that_was_used_is_told_whatever_the_store_says(told: str) -> None:
    """A frozen set may say another, and one work class may stand for all."""
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES, work_class="c02")
    put_verdict(store, key, TIMES, winner=64, work_class="c07")
    event = {**resolved(key, "hit", reason="frozen", work_class="c02"), "winner": told}
    (used,) = why(store, process(event, started=LATER)).last.used  # type: ignore[union-attr]
    assert (used.reason, used.winner) == ("frozen", told)
    (used,) = why(MemoryStore(), process(event, started=LATER)).last.used  # type: ignore[union-attr]
    assert (used.key_text, used.winner) == (None, told)


def test_a_module_narrows_the_misses_and_not_the_records() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(module="old", source="a"), TIMES)
    events = process(
        resolved(make_key(module="new", source="b"), "miss"),
        resolved(make_key(module="old", source="c"), "miss"),
        started=LATER,
    )
    (miss,) = why(store, events, kernel="new:add").misses
    assert miss.kernel == "new:add"
    assert texts(miss) == ["source differs"]
    assert miss.nearest is not None
    assert miss.nearest.kernel == "old:add"


def test_only_the_kernels_own_folders_are_listed_and_read() -> None:
    store = FaultyStore(MemoryStore())
    put_verdict(store, make_key(), TIMES)
    put_verdict(store, make_key("add_more"), TIMES)
    put_verdict(store, make_key("mul"), TIMES)
    store.calls.clear()
    why(store, process(resolved(make_key(source="b"), "miss"), started=LATER))
    levels = [name for operation, name in store.calls if operation == "children"]
    assert levels[0] == "v1/add~"
    assert all(name.startswith("v1/add~") for name in levels)
    assert all(name.startswith("v1/add~") for _, name in store.calls)


def test_records_of_another_name_in_a_like_folder_do_not_count() -> None:
    store = MemoryStore()
    put_verdict(store, make_key("a<b"), TIMES)
    event = resolved(make_key("a>b"), "miss")
    found = why(store, process(event, started=LATER), kernel="a>b")
    assert found.records == 0
    assert found.misses[0].nearest is None


def test_bad_records_are_told_and_the_others_used() -> None:
    store = MemoryStore()
    bad = put_verdict(store, make_key(tuning={"n": 1}), TIMES)
    store.put(bad, b"{}")
    put_verdict(store, make_key(tuning={"n": 2}), TIMES)
    found = why(store, process(resolved(make_key(tuning={"n": 3}), "miss"), started=LATER))
    assert [problem.name for problem in found.problems] == [bad]
    assert texts(found.misses[0]) == ["key.n: 2 → 3"]


def test_a_work_class_written_by_hand_does_no_harm() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES)
    assert texts(miss_of(store, key, work_class="huge"))
