"""The keys that are to be measured."""

from __future__ import annotations

from tests.factories import H100, make_key, put_verdict, put_wanted
from tuneonce.inspect.wanted import wanted
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,)}


def test_they_come_in_the_order_of_kernels_worlds_and_keys() -> None:
    store = MemoryStore()
    put_wanted(store, make_key("mul"), *TIMES)
    put_wanted(store, make_key(tuning={"n": 128}), *TIMES)
    put_wanted(store, make_key(tuning={"n": 64}), *TIMES, work_class="c03")
    put_wanted(store, make_key(tuning={"n": 64}), *TIMES)
    put_wanted(store, make_key(product=H100), *TIMES)
    found = [
        (one.kernel, one.world[:11], one.key_text, one.work_class) for one in wanted(store).keys
    ]
    assert found == [
        ("kernels:add", "NVIDIA H100", "n=64 x=bf16", "c02"),
        ("kernels:add", "NVIDIA H200", "n=64", "c02"),
        ("kernels:add", "NVIDIA H200", "n=64", "c03"),
        ("kernels:add", "NVIDIA H200", "n=128", "c02"),
        ("kernels:mul", "NVIDIA H200", "n=64 x=bf16", "c02"),
    ]
    assert [one.kernel for one in wanted(store, pattern="kernels:mul").keys] == ["kernels:mul"]


def test_a_note_that_came_after_the_verdict_is_passed_over() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(), TIMES)
    put_wanted(store, make_key(), *TIMES)
    assert wanted(store).keys == []
    put_wanted(store, make_key(), 64, 128, 256)  # over another list of candidates
    put_wanted(store, make_key(), *TIMES, work_class="c05")
    found = [(one.candidates, one.work_class) for one in wanted(store).keys]
    assert found == [(3, "c02"), (2, "c05")]


def test_a_record_that_cannot_be_used_hides_no_other() -> None:
    store = MemoryStore()
    bad = put_wanted(store, make_key("bad"), *TIMES)
    store.put(bad, b"{}\n")
    put_wanted(store, make_key(), *TIMES)
    found = wanted(store)
    assert [one.kernel for one in found.keys] == ["kernels:add"]
    assert [problem.name for problem in found.problems] == [bad]
