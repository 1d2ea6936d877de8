"""What is expected of candidates by verdicts that do not hold for a key."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import pytest

from tests.factories import H100, make_key, make_verdict, put_verdict
from tests.fakes import RememberedEvents, candidate
from tuneonce.model.key import Key
from tuneonce.model.records import pack
from tuneonce.resolution.resolver import Question, Resolver
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore
from tuneonce.tuning.between_classes import Between
from tuneonce.tuning.priors import Prior

BLOCKS = (16, 32, 64)
OURS = make_key(tuning={"n": 64, "x.dtype": "torch.bfloat16"})


def expected(store: Store, key: Key = OURS, work_class: str = "c02") -> dict[int, float]:
    """Rounded, by block."""
    question = Question(key, work_class, None, [candidate(block) for block in BLOCKS])
    found = Resolver(store, RememberedEvents()).expected(question).times
    return {b: round(found[i], 3) for i, b in enumerate(BLOCKS) if i in found}


def times(*medians: float) -> dict[int, tuple[float, ...]]:
    return {block: (ms,) * 3 for block, ms in zip(BLOCKS, medians, strict=False)}


def test_nothing_is_known() -> None:
    assert expected(MemoryStore()) == {}


def test_what_differs_least_before_what_differs_more_before_another_source() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(source="1" * 16), times(3, 1, 2))
    assert expected(store) == {16: 3.0, 32: 1.0, 64: 2.0}
    put_verdict(store, make_key(product=H100), times(1, 2, 4))
    assert expected(store) == {16: 1.0, 32: 2.0, 64: 4.0}
    put_verdict(store, make_key(tuning={"n": 128, "x.dtype": "torch.float16"}), times(9, 9, 1))
    assert expected(store) == {16: 1.0, 32: 2.0, 64: 4.0}
    put_verdict(store, OURS, times(6, 4, 2), work_class="c03")
    assert expected(store) == {16: 3.0, 32: 2.0, 64: 1.0}


def test_the_same_key_elsewhere_before_other_keys_here() -> None:
    """What was compiled ahead for a key stays what it asks for while its neighbours are tuned."""
    store = MemoryStore()
    elsewhere = make_key(product=H100, compiler="triton-3.4.0-0123456789ab")
    put_verdict(store, elsewhere, times(1, 2, 4))
    put_verdict(store, make_key(tuning={"n": 128, "x.dtype": "torch.bfloat16"}), times(9, 9, 1))
    assert expected(store) == {16: 1.0, 32: 2.0, 64: 4.0}


@pytest.mark.parametrize("others", [30, 60])
def test_the_same_key_is_found_among_many(others: int) -> None:
    store = MemoryStore()
    put_verdict(store, make_key(product=H100), times(1, 2, 4))
    for n in range(100, 100 + others):
        more = {"n": n, "x.dtype": "torch.bfloat16"}
        put_verdict(store, make_key(product=H100, tuning=more), times(9, 9, 1))
    assert expected(store) == {16: 1.0, 32: 2.0, 64: 4.0}


def test_the_same_key_of_another_source_before_other_keys_of_this_one() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(source="1" * 16), times(1, 2, 4))
    put_verdict(store, make_key(tuning={"n": 9, "x.dtype": "torch.bfloat16"}), times(9, 9, 1))
    assert expected(store) == {16: 1.0, 32: 2.0, 64: 4.0}


def test_who_completes_the_nearest_was_measured_beside_it() -> None:
    store = MemoryStore()
    far = {"n": 9, "x.dtype": "torch.bfloat16"}
    put_verdict(store, make_key(product=H100), times(1, 2))
    put_verdict(store, make_key(tuning=far), times(1, 2, 50))
    put_verdict(store, make_key(product=H100, tuning=far), times(1, 2, 5))
    assert expected(store) == {16: 1.0, 32: 2.0, 64: 5.0}


def test_seconds_of_compiling_are_those_of_the_nearest_that_has_compiled() -> None:
    def took(key: Key, seconds: dict[int, float]) -> None:
        verdict = make_verdict(key, times(1, 2, 4))
        compiled = [
            msgspec.structs.replace(one, compile_s=seconds[block])
            for block, one in zip(BLOCKS, verdict.measurements, strict=True)
        ]
        verdict = msgspec.structs.replace(verdict, measurements=compiled)
        store.put(key.verdict_name("c02", verdict.candidates), pack(verdict))

    store = MemoryStore()
    took(make_key(product=H100), {16: 0.0, 32: 5.0, 64: 6.0})
    took(make_key(tuning={"n": 9, "x.dtype": "half"}, product=H100), {16: 1.0, 32: 2.0, 64: 3.0})
    question = Question(OURS, "c02", None, [candidate(block) for block in (64, 32, 16, 8)])
    found = Resolver(store, RememberedEvents()).expected(question).compile_s
    assert found == {0: 6.0, 1: 5.0, 2: 1.0}


def test_who_is_farther_is_asked_about_those_that_the_nearer_never_tried() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(product=H100), times(2, 2, 6))
    put_verdict(store, OURS, times(1, 2), work_class="c03")
    # What both know takes 1 and 2 here, 1 and 1 there: its unit is the root of 2.
    assert expected(store) == {16: 1.0, 32: 2.0, 64: round(3 * math.sqrt(2), 3)}


def test_who_knows_none_of_the_same_candidates_cannot_be_compared() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(product=H100), {64: (1.0,) * 3, 128: (3.0,) * 3})
    put_verdict(store, OURS, times(1, 2), work_class="c03")
    question = Question(OURS, "c02", None, [candidate(block) for block in (16, 32, 64, 128)])
    found = Resolver(store, RememberedEvents()).expected(question).times
    assert found == pytest.approx({0: 1.0, 1: 2.0})


def test_another_kernel_says_nothing() -> None:
    store = MemoryStore()
    put_verdict(store, make_key("sub"), times(3, 1, 2))
    put_verdict(store, make_key("add_more"), times(3, 1, 2))
    assert expected(store) == {}


def test_the_nearest_three_are_averaged_and_the_far_ones_are_not() -> None:
    store = MemoryStore()
    for n in (1, 2, 3):  # differ in one part
        key = make_key(tuning={"n": n, "x.dtype": "torch.bfloat16"})
        put_verdict(store, key, times(1, 2.0**n, 1))
    put_verdict(store, make_key(tuning={"n": 9, "x.dtype": "torch.float16"}), times(1, 1000, 1))
    assert expected(store) == {16: 1.0, 32: 4.0, 64: 1.0}


def test_a_nearer_work_class_comes_first() -> None:
    store = MemoryStore()
    for work_class, ms in (("c02", 2.0), ("c03", 3.0), ("c04", 4.0), ("c09", 900.0)):
        put_verdict(store, OURS, times(1, ms, 1), work_class=work_class)
    found = expected(store, work_class="c03")
    assert found[32] == pytest.approx(math.prod((2, 3, 4)) ** (1 / 3), abs=1e-3)


def test_what_failed_elsewhere_is_expected_last_and_one_candidate_is_no_expectation() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(product=H100), {16: (1.0,) * 3, 32: ()})
    assert expected(store) == {16: 1.0, 32: 10.0}
    alone = MemoryStore()
    put_verdict(alone, make_key(product=H100), {16: (1.0,) * 3, 999: (2.0,) * 3})
    assert expected(alone) == {}


def test_a_record_that_cannot_be_read_is_passed_over() -> None:
    store = MemoryStore()
    name = put_verdict(store, make_key(product=H100), times(1, 2, 4))
    store.put(name, b"{}\n")
    assert expected(store) == {}
    store.put(name, b"")
    assert expected(store) == {}


def test_what_no_number_can_hold_is_only_slow() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(product=H100), times(1e308, 5e-324, 1e-308))
    put_verdict(store, OURS, times(5e-324, 1e308), work_class="c03")
    assert all(0 < ms < math.inf for ms in expected(store).values())


@pytest.mark.parametrize("slower", [True, False])
def test_a_chain_of_comparisons_stays_within_what_a_number_can_hold(slower: bool) -> None:
    store = MemoryStore()
    blocks = range(1, 60)
    for n in blocks[:-1]:
        pair = (1.0, 1e300) if slower else (1e300, 1.0)
        verdict = {n: (pair[0],), n + 1: (pair[1],)}
        put_verdict(store, make_key(tuning={"n": n, "x.dtype": "half"}), verdict)
    question = Question(OURS, "c02", None, [candidate(block) for block in blocks])
    found = Resolver(store, RememberedEvents()).expected(question).times
    assert all(0 < ms < math.inf for ms in found.values())


@pytest.mark.parametrize("name", ["x", "c", "cab.000000000000", "c03", "c9.000000000000", "="])
def test_names_that_are_no_verdicts_are_passed_over(name: str) -> None:
    store = MemoryStore()
    real = put_verdict(store, make_key(product=H100), times(1, 2, 4))
    data = store.get(real)
    assert data is not None
    for key in (OURS, make_key(product=H100), make_key(source="1" * 16)):
        store.put(f"{key.directory}/{name}.verdict.json", data)
        store.put(f"{key.directory.rpartition('/')[0]}/{name}.verdict.json", data)
    assert expected(store) == {16: 1.0, 32: 2.0, 64: 4.0}


def test_so_many_keys_cost_no_more_than_some() -> None:
    class Counting(MemoryStore):
        lists = reads = 0

        def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
            self.lists += 1
            assert limit is not None
            return super().children(prefix, limit=limit)

        def get(self, name: str) -> bytes | None:
            self.reads += 1
            return super().get(name)

    store = Counting()
    cost = []
    for more in range(4):
        for n in range(100):
            for key in (
                make_key(tuning={"n": 1000 * more + n}),
                make_key(tuning={"n": n}, product=f"GPU {more}"),
                make_key(tuning={"n": n}, source=f"{more + 1:016x}"),
                make_key(tuning={"n": 1}, source=f"{1000 * more + n:016x}"),
            ):
                put_verdict(store, key, times(1, 2))
        store.lists = store.reads = 0
        assert expected(store) == {16: 1.0, 32: 2.0}
        cost.append((store.lists, store.reads))
    assert max(lists for lists, _ in cost) < 250
    assert max(reads for _, reads in cost) < 130


def test_only_so_many_records_are_read() -> None:
    class Counting(MemoryStore):
        reads = 0

        def get(self, name: str) -> bytes | None:
            self.reads += 1
            return super().get(name)

    store = Counting()
    for n in range(100):
        put_verdict(store, make_key(tuning={"n": n, "x.dtype": "half"}), times(1, 2, 4))
    store.reads = 0
    assert expected(store) == {16: 1.0, 32: 2.0, 64: 4.0}
    assert store.reads <= 24


def test_the_keys_own_classes_before_all_that_other_verdicts_say() -> None:
    far = Prior({"a": 1.0, "b": 2.0, "c": 4.0}, {"a": 3.0})
    own = Between({"a": 3.0, "b": 1.0}, 0.1, True, frozenset("a"))
    found = far.behind(own)
    assert found.times["c"] / found.times["a"] > 1
    assert {c: found.times[c] for c in "ab"} == {"a": 3.0, "b": 1.0}
    assert far.behind(Between()) == far
    listed = found.at(["b", "x", "a"])
    assert listed.times == {0: 1.0, 2: 3.0}
    assert listed.compile_s == {2: 3.0}
    assert listed.between == Between({0: 1.0, 2: 3.0}, 0.1, True, frozenset({2}))
