"""Where two stores, or two worlds, have different winners, and what each would lose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.factories import H100, H200, make_key, put_damaged, put_loose, put_verdict
from tests.fakes import candidate
from tuneonce.errors import UsageError
from tuneonce.inspect.differing import Comparison, Losses, Place, differ
from tuneonce.model.records import Verdict, pack, unpack
from tuneonce.store import Store
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,), 256: (0.3,)}


@pytest.fixture
def one() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def other() -> MemoryStore:
    return MemoryStore()


def compared(one: Store, other: Store, *worlds: str, pattern: str | None = None) -> Comparison:
    left, right = (worlds[0], worlds[-1]) if worlds else (None, None)
    return differ(Place(one, left), Place(other, right), across=len(worlds) == 2, pattern=pattern)


def numbers(found: Comparison) -> tuple[int, int, int, int]:
    return found.same, len(found.different), found.only_left, found.only_right


def test_equal_stores_are_the_same(one: MemoryStore, other: MemoryStore) -> None:
    for store in (one, other):
        put_verdict(store, make_key("add"), TIMES)
        put_verdict(store, make_key("add", product=H100), TIMES)
    # Another verdict with that winner, and what is no verdict, make no difference.
    put_verdict(other, make_key("add"), {64: (0.4,), 128: (0.3,), 256: (0.5,)}, at=9.0)
    put_loose(one, make_key("mul"), 64, 0.1)
    found = compared(one, other)
    assert found.is_same
    assert numbers(found) == (2, 0, 0, 0)
    assert found.left_loses == Losses(known=0, not_measured=0, median=None, worst=None)


def test_what_each_side_would_lose_is_from_its_own_measurements(
    one: MemoryStore, other: MemoryStore
) -> None:
    put_verdict(one, make_key("add"), TIMES)
    put_verdict(other, make_key("add"), {64: (0.4,), 128: (0.5,), 256: (0.6,)})
    found = compared(one, other)
    assert not found.is_same
    [difference] = found.different
    assert (difference.kernel, difference.key_text) == ("kernels:add", "n=64 x=bf16")
    assert difference.key == {"n": "64", "x.dtype": "torch.bfloat16"}
    left, right = difference.left, difference.right
    assert (left.winner, left.winner_ms, left.others_ms) == ("BLOCK=128 num_warps=4", 0.1, 0.2)
    assert left.loss == pytest.approx(1.0)
    assert (right.winner, right.winner_ms, right.others_ms) == ("BLOCK=64 num_warps=4", 0.4, 0.5)
    assert right.loss == pytest.approx(0.25)
    assert left.world == right.world == "NVIDIA H200 · cuda:90 · triton-3.6.0"


def test_what_was_not_measured_or_failed_is_no_loss(one: MemoryStore, other: MemoryStore) -> None:
    put_verdict(one, make_key("add"), {64: (), 128: (0.1,), 256: (0.3,)})
    put_verdict(other, make_key("add"), {64: (0.1,), 128: (0.2,), 256: (0.3,)})
    # Pruned: in the list of candidates, and without a measurement.
    key = make_key("mul")
    name = put_verdict(other, key, TIMES)
    pruned = put_verdict(one, key, TIMES, winner=64)
    assert name == pruned
    verdict = unpack(one.get(name) or b"", Verdict)
    kept = [m for m in verdict.measurements if m.candidate != candidate(128).digest]
    one.put(name, pack(msgspec.structs.replace(verdict, measurements=kept)))
    found = compared(one, other)
    add, mul = found.different
    assert (add.left.loss, add.left.others_ms, add.left.failed) == (None, None, "did not run")
    assert add.right.loss == pytest.approx(1.0)
    assert (mul.left.loss, mul.left.failed) == (None, None)
    assert mul.left.winner == "BLOCK=64 num_warps=4"
    assert mul.right.loss == pytest.approx(1.0)
    assert found.left_loses == Losses(known=0, not_measured=2, median=None, worst=None)
    assert found.right_loses.known == 2


def test_median_and_worst(one: MemoryStore, other: MemoryStore) -> None:
    for number, loss in enumerate([0.01, 0.3, 0.02]):
        key = make_key("add", tuning={"n": number})
        put_verdict(one, key, {64: (1.0,), 128: (1 + loss,)})
        put_verdict(other, key, {64: (1.0,), 128: (1.0,)}, winner=128)
    found = compared(one, other)
    assert [d.key_text for d in found.different] == ["n=0", "n=1", "n=2"]
    assert found.left_loses.median == pytest.approx(0.02)
    assert found.left_loses.worst == pytest.approx(0.3)
    assert (found.right_loses.median, found.right_loses.worst) == (0, 0)


def test_a_winner_that_tied_may_be_the_slower_one(one: MemoryStore, other: MemoryStore) -> None:
    put_verdict(one, make_key("add"), {64: (1.0,), 128: (0.99,)}, winner=64)
    put_verdict(other, make_key("add"), {64: (1.0,), 128: (0.99,)})
    [difference] = compared(one, other).different
    assert difference.left.loss == pytest.approx(-0.01)


def test_keys_that_one_side_lacks_are_counted(one: MemoryStore, other: MemoryStore) -> None:
    put_verdict(one, make_key("add"), TIMES)
    put_verdict(one, make_key("mul"), TIMES)
    put_verdict(other, make_key("add"), TIMES, work_class="c05")  # another size
    put_verdict(other, make_key("mul", product=H100), TIMES)  # another world
    put_verdict(other, make_key("mul"), {64: (0.1,), 128: (0.2,)})  # another list of candidates
    found = compared(one, other)
    assert numbers(found) == (0, 0, 2, 3)
    assert not found.is_same
    assert numbers(compared(other, one)) == (0, 0, 3, 2)


def test_one_kernel_or_world(one: MemoryStore, other: MemoryStore) -> None:
    for name in ("add", "add2", "mul"):
        put_verdict(one, make_key(name), TIMES)
        put_verdict(other, make_key(name), TIMES, winner=64)
        put_verdict(other, make_key(name, product=H100), TIMES)
    assert numbers(compared(one, other)) == (0, 3, 0, 3)
    assert numbers(compared(one, other, pattern="add")) == (0, 1, 0, 1)
    assert numbers(compared(one, other, pattern="kernels:a*")) == (0, 2, 0, 2)
    assert numbers(compared(one, other, "*H200", pattern="mul")) == (0, 1, 0, 0)
    assert numbers(compared(one, other, pattern="none")) == (0, 0, 0, 0)


# -- one world and another -----------------------------------------------------------------------


def test_two_worlds_of_one_store(one: MemoryStore) -> None:
    for number in range(3):
        key: dict[str, Any] = {"tuning": {"n": number}}
        put_verdict(one, make_key("add", product=H100, **key), TIMES)
        put_verdict(one, make_key("add", product=H200, **key), TIMES, winner=64 if number else 128)
    put_verdict(one, make_key("add", product=H100, source="1" * 16), TIMES)
    put_verdict(one, make_key("add", product="NVIDIA H20"), TIMES)
    found = compared(one, one, "*H100", "*H200")
    assert numbers(found) == (1, 2, 1, 0)
    assert found.worlds == (
        "NVIDIA H100 · cuda:90 · triton-3.6.0",
        "NVIDIA H200 · cuda:90 · triton-3.6.0",
    )
    assert {d.left.world for d in found.different} == {found.worlds[0]}
    assert {d.right.world for d in found.different} == {found.worlds[1]}
    assert found.right_loses.worst == pytest.approx(-0.5)


def test_a_world_of_one_store_and_another_of_another(one: MemoryStore, other: MemoryStore) -> None:
    put_verdict(one, make_key("add", product=H100), TIMES)
    put_verdict(other, make_key("add", product=H100), TIMES, winner=256)
    put_verdict(other, make_key("add", product=H200), TIMES, winner=64)
    [difference] = compared(one, other, "*H100", "*H200").different
    assert difference.right.winner == "BLOCK=64 num_warps=4"


def test_a_glob_that_means_none_or_several_worlds_is_wrong_input(one: MemoryStore) -> None:
    put_verdict(one, make_key("add", product=H100), TIMES)
    put_verdict(one, make_key("add", product=H200), TIMES)
    put_verdict(one, make_key("add", product=H200, compiler="triton-3.9.0-0123456789ab"), TIMES)
    with pytest.raises(UsageError, match=r"--world H20 is none of .*NVIDIA H100 · cuda:90"):
        compared(one, one, "H20", "*H100")
    with pytest.raises(UsageError, match=r"--world \*H200 means several of .*triton-3.6.0 \(~"):
        compared(one, one, "*H100", "*H200")
    whole = "NVIDIA H200 · cuda:90 · triton-3.9.0"
    assert numbers(compared(one, one, "*H100", whole)) == (1, 0, 0, 0)
    # With one glob for both sides worlds are compared with themselves, and may be several.
    assert numbers(compared(one, one, "*H200")) == (2, 0, 0, 0)
    with pytest.raises(UsageError, match="is none of"):
        compared(one, one, "H20")


def test_what_cannot_be_read_is_a_problem_and_no_difference(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    put_damaged(store, tmp_path / "store")
    key = make_key("odd")
    name = put_verdict(store, key, TIMES)
    data = store.get(name)
    assert data is not None
    _, kernel, world, rest = name.split("/", 3)
    store.put(f"v1/{kernel}/another~0/{rest}", data)
    store.put(f"v1/{kernel}0/{world}/{rest}", data)  # begins as the other, and is none of it
    found = compared(store, store)
    assert numbers(found) == (2, 0, 0, 0)
    assert len(found.problems) == 12
    assert {problem.reason for problem in found.problems} == {
        "truncated",
        "checksum",
        "misplaced",
        "not a regular file",
    }
