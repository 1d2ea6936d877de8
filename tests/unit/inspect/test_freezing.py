"""The winners of a store as a frozen set, and a store beside one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.factories import H100, H200, NOON, make_key, put_damaged, put_loose, put_verdict
from tests.fakes import candidate
from tuneonce.inspect.freezing import Other, compare, freeze
from tuneonce.model.frozen import FrozenSet, read_document
from tuneonce.model.record_names import list_digest
from tuneonce.store import Store
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,)}
KEYS = [make_key(name, tuning={"n": n}) for name in ("add", "mul") for n in (1, 20, 3)]


def filled(store: Store, *, seed: int = 0, at: float = NOON) -> Store:
    """The same winners, published in an order and at a time of their own."""
    wanted = [(key, work_class) for key in KEYS for work_class in ("c01", "c02", "cxx")]
    random.Random(seed).shuffle(wanted)
    for n, (key, work_class) in enumerate(wanted):
        put_verdict(store, key, TIMES, work_class=work_class, at=at + n)
    return store


def test_equal_winners_are_equal_bytes(tmp_path: Path) -> None:
    one = filled(FileStore(tmp_path / "one"))
    other = filled(MemoryStore(), seed=1, at=NOON + 1e6)
    put_loose(other, make_key("unfinished"), 64, 0.1)
    data = freeze(one).frozen.document()
    assert freeze(other).frozen.document() == data
    assert len(read_document(data).winners) == 18
    assert str(tmp_path).encode() not in data


def test_another_winner_is_another_digest() -> None:
    store = filled(MemoryStore())
    before = freeze(store).frozen
    put_verdict(store, KEYS[0], TIMES, winner=64, work_class="c01")
    after = freeze(store).frozen
    assert after.sha256 != before.sha256
    assert len(after.winners) == len(before.winners)


def test_what_is_said_of_a_winner() -> None:
    store = MemoryStore()
    key = make_key()
    put_verdict(store, key, TIMES, work_class="c02")
    [one] = freeze(store).frozen.winners
    assert (one.kernel, one.tuning) == ("add", "n=64 x=bf16")
    assert one.world == "NVIDIA H200 · cuda:90 · triton-3.6.0"
    assert (one.work_class, one.text) == ("c02", "BLOCK=128 num_warps=4")
    assert (one.key, one.winner) == (key.digest, candidate(128).digest)
    assert one.candidates == list_digest([candidate(64).digest, candidate(128).digest])


def test_some_kernels_and_some_worlds() -> None:
    store = MemoryStore()
    for name in ("add", "mul"):
        for product in (H100, H200):
            put_verdict(store, make_key(name, product=product), TIMES)

    def frozen(**which: str) -> set[tuple[str, str]]:
        found = freeze(store, **which).frozen.winners
        return {(one.kernel, one.world.split(" ·")[0]) for one in found}

    assert len(frozen()) == 4
    assert frozen(pattern="add") == {("add", H100), ("add", H200)}
    assert frozen(world="*h200") == {("add", H200), ("mul", H200)}
    assert frozen(pattern="kernels:m*", world=H100) == {("mul", H100)}
    assert frozen(world="*H20") == set()


def test_what_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    bad = put_damaged(store, tmp_path)
    found = freeze(store)
    assert [one.kernel for one in found.frozen.winners] == ["whole"]
    assert {problem.name for problem in found.problems} == set(bad)


def test_a_record_in_anothers_folder_is_a_problem() -> None:
    store = MemoryStore()
    name = put_verdict(store, make_key("add"), TIMES)
    data = store.get(name)
    assert data is not None
    moved = [name.replace("v1/add~", "v1/mul~"), name.replace("H200-90~", "H100-90~")]
    for other in moved:
        store.put(other, data)
    found = freeze(store)
    assert len(found.frozen.winners) == 1
    assert {(one.name, one.reason) for one in found.problems} == {(m, "misplaced") for m in moved}


@pytest.mark.parametrize("product", [H200, None, "unknown card (x)"])
def test_every_world_is_found(product: str | None) -> None:
    store = MemoryStore()
    put_verdict(store, make_key(product=product), TIMES)
    found = freeze(store)
    assert (len(found.frozen.winners), found.problems) == (1, [])


def test_a_store_and_what_was_frozen_of_it() -> None:
    store = filled(MemoryStore())
    found = compare(store, freeze(store).frozen, file="winners.json")
    assert found.well
    assert (found.winners, found.equal, found.missing, found.different) == (18, 18, [], [])
    assert (found.file, found.beside) == ("winners.json", 0)


def test_what_is_missing_what_is_different_and_what_is_beside() -> None:
    store = MemoryStore()
    for key in KEYS[:3]:
        put_verdict(store, key, TIMES)
    frozen = freeze(store).frozen
    other = MemoryStore()
    put_verdict(other, KEYS[0], TIMES)
    put_verdict(other, KEYS[1], TIMES, winner=64)
    put_verdict(other, KEYS[4], TIMES)
    found = compare(other, frozen, file="x")
    assert not found.well
    assert (found.winners, found.equal, found.beside) == (3, 1, 1)
    world = "NVIDIA H200 · cuda:90 · triton-3.6.0"
    winner, stored = "BLOCK=128 num_warps=4", "BLOCK=64 num_warps=4"
    assert found.missing == [Other("add", world, "n=3", "c02", winner, None)]
    assert found.different == [Other("add", world, "n=20", "c02", winner, stored)]


@pytest.mark.parametrize("winner", [None, 64])
def test_one_fault_is_enough(winner: int | None) -> None:
    store = MemoryStore()
    put_verdict(store, KEYS[0], TIMES)
    frozen = freeze(store).frozen
    other = MemoryStore()
    if winner is not None:
        put_verdict(other, KEYS[0], TIMES, winner=winner)
    assert not compare(other, frozen, file="x").well
    assert compare(other, FrozenSet([]), file="x").well
