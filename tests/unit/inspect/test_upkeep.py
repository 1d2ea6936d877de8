"""Verifying and emptying a store."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from tests.factories import (
    H100,
    NOON,
    make_key,
    make_verdict,
    put_loose,
    put_variants,
    put_verdict,
    put_wanted,
)
from tests.fakes import FaultyStore, measured
from tuneonce.errors import RecordUnreadable, StoreReadOnly, Unreadable
from tuneonce.inspect import record_reader
from tuneonce.inspect.upkeep import Selection, plan_removal, remove, verify
from tuneonce.model.key import Key
from tuneonce.model.records import Verdict, pack
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore

TIMES = {64: (0.2,), 128: (0.1,)}


def names(store: Store) -> set[str]:
    return set(store.list(""))


# -- verify --------------------------------------------------------------------------------------


def test_a_good_store() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES)
    put_verdict(store, make_key(product=None), TIMES)
    put_verdict(store, make_key(callee_helper="1" * 16), TIMES, origin="stock-cache")
    put_loose(store, key, 256, 0.3)
    put_loose(store, key, 512, failed="did not run")
    found = verify(store)
    assert (found.verdicts, found.measurements, found.bad, found.unknown) == (3, 2, [], [])


def test_what_is_wanted_is_verified_and_removed() -> None:
    store, key = MemoryStore(), make_key()
    good = put_wanted(store, key, 64, 128)
    found = verify(store)
    assert (found.wanted, found.verdicts, found.bad, found.unknown) == (1, 0, [], [])
    data = store.get(good) or b""
    moved = make_key("mul").wanted_name("c02", []).rpartition("/")[0]
    store.put(f"{moved}/{good.rpartition('/')[2]}", data)
    store.put(good, data.replace(b"kernels", b"Kernels"))
    assert sorted(bad.reason for bad in verify(store).bad) == ["checksum", "misplaced"]
    store.put(good, data)
    plan = plan_removal(store, Selection(pattern="kernels:add"))
    assert [(one.kind, one.kernel) for one in plan.records] == [("wanted", "kernels:add")]
    assert remove(store, plan).removed == 1
    assert good not in names(store)


def test_variants_are_verified() -> None:
    store, key = MemoryStore(), make_key()
    good = put_variants(store, key, 64, 128)
    found = verify(store)
    assert (found.variants, found.verdicts, found.bad, found.unknown) == (1, 0, [], [])
    data = store.get(good)
    assert data is not None
    other = make_key("mul")
    here = other.variants_name("c02", []).rpartition("/")[0].rpartition("/")[0]
    store.put(f"{here}/{'/'.join(good.split('/')[-2:])}", data)  # of another kernel's folder
    store.put(good, data.replace(b"i32", b"i64"))
    found = verify(store)
    assert found.variants == 0
    assert sorted(bad.reason for bad in found.bad) == ["checksum", "misplaced"]


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection(), 0),
        (Selection(pattern="kernels:add"), 1),
        (Selection(world="nvidia h200"), 0),
        (Selection(world="nvidia h100"), 2),
        (Selection(before=NOON + 50), 1),
        (Selection(origin="measured"), 2),
    ],
)
def test_variants_are_removed(selection: Selection, left: int) -> None:
    store = MemoryStore()
    put_verdict(store, make_key("add"), TIMES)
    put_variants(store, make_key("add"), 64, 128, at=NOON)
    put_variants(store, make_key("mul"), 64, at=NOON + 100)  # all that is left of its kernel
    plan = plan_removal(store, selection)
    remove(store, plan)
    assert len([name for name in names(store) if name.endswith(".variants.json")]) == left


def place(store: Store, key: Key, verdict: Verdict) -> str:
    """Put a verdict where `key` belongs, whatever it says itself."""
    name = key.verdict_name(verdict.work_class, verdict.candidates)
    store.put(name, pack(verdict))
    return name


def test_a_record_of_another_key() -> None:
    store = MemoryStore()
    name = place(store, make_key(tuning={"n": 1}), make_verdict(make_key(), TIMES))
    (bad,) = verify(store).bad
    assert (bad.name, bad.reason, bad.set_aside) == (name, "misplaced", False)


@pytest.mark.parametrize("part", [1, 2])
def test_a_key_in_the_folder_of_another_kernel_or_world(part: int) -> None:
    store, key = MemoryStore(), make_key()
    name = put_verdict(store, key, TIMES)
    data = store.get(name)
    assert data is not None
    other = make_key("mul", product=H100).directory.split("/")
    parts = name.split("/")
    parts[part] = other[part]
    store.put("/".join(parts), data)
    (bad,) = verify(store).bad
    assert bad.reason == "misplaced"
    assert "belongs to another folder" in bad.detail


def test_a_configuration_that_is_another_candidates() -> None:
    store, key = MemoryStore(), make_key()
    good = make_verdict(key, TIMES)
    stranger = list(measured(999, 1.0).config)
    swapped = [msgspec.structs.replace(good.measurements[0], config=stranger)]
    place(store, key, msgspec.structs.replace(good, measurements=swapped))
    (bad,) = verify(store).bad
    assert good.measurements[0].candidate in bad.detail


def test_set_aside_moves_bad_records_and_nothing_else() -> None:
    store = MemoryStore()
    good = put_verdict(store, make_key(), TIMES)
    cut = put_verdict(store, make_key("mul"), TIMES)
    moved = place(store, make_key(tuning={"n": 1}), make_verdict(make_key(), TIMES))
    store.put(cut, b"{}")
    store.put("v1/readme", b"")
    found = verify(store, set_aside=True)
    assert {(bad.name, bad.set_aside) for bad in found.bad} == {(cut, True), (moved, True)}
    assert found.unknown == ["v1/readme"]
    assert names(store) == {good, "v1/readme"}
    assert verify(store).bad == []


def test_what_belongs_to_another_version_is_told_and_left_alone() -> None:
    store = MemoryStore()
    name = put_verdict(store, make_key(), TIMES)
    data = store.get(name)
    assert data is not None
    theirs = data.replace(b"tuneonce.verdict/1", b"tuneonce.verdict/2")
    store.put(name, theirs)
    # Where that version puts its records, and some of a version after it.
    others = [name.replace(".json", ".2.json"), name.replace("v1/", "v2/")]
    for other in others:
        store.put(other, theirs)
    found = verify(store, set_aside=True)
    assert [(bad.name, bad.reason, bad.set_aside) for bad in found.bad] == [
        (name, "version", False)
    ]
    assert found.unknown == [others[0]]
    assert remove(store, plan_removal(store, Selection())).removed == 0
    assert names(store) == {name, *others}


def test_a_folder_that_is_closed_hides_no_other() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(), TIMES)
    closed = put_verdict(store, make_key("mul"), TIMES).split("/")

    for depth in (2, 4):
        folder = "/".join(closed[:depth]) + "/"

        class Closed(FaultyStore):
            def children(
                self, prefix: str, *, limit: int | None = None, folder: str = folder
            ) -> Sequence[str]:
                if prefix == folder:
                    raise RecordUnreadable(folder, Unreadable.PERMISSION, detail="as user 7")
                return super().children(prefix, limit=limit)

        found = verify(Closed(store), set_aside=True)
        assert found.verdicts == 1
        (bad,) = found.bad
        assert (bad.name, bad.reason, bad.set_aside) == (folder, "no permission", False)
    assert verify(store).verdicts == 2


def test_a_record_that_may_not_be_moved_stays_and_is_told() -> None:
    inner = MemoryStore()
    inner.put(put_verdict(inner, make_key(), TIMES), b"")
    assert not verify(ReadOnlyStore(inner), set_aside=True).bad[0].set_aside
    refusing = FaultyStore(inner, set_aside=StoreReadOnly("not yours"))
    (bad,) = verify(refusing, set_aside=True).bad
    assert not bad.set_aside
    assert "not yours" in bad.detail


# -- removal -------------------------------------------------------------------------------------


@pytest.fixture
def store() -> MemoryStore:
    """Two kernels in two worlds, from three times, one of them not finished."""
    store = MemoryStore()
    put_verdict(store, make_key("add"), TIMES, at=NOON - 100)
    put_verdict(store, make_key("add", product=H100), TIMES, at=NOON, origin="stock-cache")
    put_verdict(store, make_key("mul", module="other"), TIMES, at=NOON, origin="assembled")
    put_loose(store, make_key("mul", module="other"), 512, 0.1, at=NOON + 100)
    return store


@pytest.mark.parametrize(
    ("selection", "kinds"),
    [
        (Selection(), ["add 100", "add 0", "mul 0", "mul loose"]),
        (Selection("add"), ["add 100", "add 0"]),
        (Selection("kernels:add"), ["add 100", "add 0"]),
        (Selection("other:*"), ["mul 0", "mul loose"]),
        (Selection("m*"), ["mul 0", "mul loose"]),
        (Selection(world="NVIDIA H100"), ["add 0"]),
        (Selection(world="*h100"), ["add 0"]),
        (Selection(world="H100"), []),
        (Selection(world="NVIDIA H20"), []),
        (Selection(world="cuda:90"), ["add 100", "add 0", "mul 0", "mul loose"]),
        (Selection(world="triton-3.6.0*"), ["add 100", "add 0", "mul 0", "mul loose"]),
        (
            Selection(world="NVIDIA H200 · cuda:90 · triton-3.6.0"),
            ["add 100", "mul 0", "mul loose"],
        ),
        (Selection(before=NOON), ["add 100"]),
        (Selection(before=NOON + 1), ["add 100", "add 0", "mul 0"]),
        (Selection(origin="stock-cache"), ["add 0"]),
        (Selection(origin="measured"), ["add 100"]),
        (Selection("mul", origin="measured"), []),
    ],
)
def test_selections(store: MemoryStore, selection: Selection, kinds: list[str]) -> None:
    plan = plan_removal(store, selection)
    told = []
    for one in plan.records:
        name = one.kernel.partition(":")[2]
        when = "loose" if one.kind == "measurement" else f"{NOON - one.written_at:.0f}"
        told.append(f"{name} {when}")
    assert sorted(told) == sorted(kinds)
    assert plan.matched
    assert len(names(store)) == 4


def test_removal(store: MemoryStore) -> None:
    plan = plan_removal(store, Selection("add"))
    done = remove(store, plan)
    assert (done.removed, done.changed) == (2, 0)
    assert {one.kernel for one in plan_removal(store, Selection()).records} == {"other:mul"}
    assert plan_removal(store, Selection("add")).matched is False


def test_what_changed_since_it_was_looked_at_is_left(store: MemoryStore) -> None:
    plan = plan_removal(store, Selection("mul"))
    verdict, loose = sorted(plan.records, key=lambda one: one.kind, reverse=True)
    store.put(verdict.name, b"new")
    data = store.get(loose.name)
    assert data is not None
    store.delete_if(loose.name, data)
    done = remove(store, plan)
    assert (done.removed, done.changed) == (0, 2)
    assert store.get(verdict.name) == b"new"


def test_bad_records_are_left_for_verify(store: MemoryStore) -> None:
    bad = put_verdict(store, make_key("add", tuning={"n": 5}), TIMES)
    store.put(bad, b"")
    plan = plan_removal(store, Selection("add"))
    assert [problem.name for problem in plan.problems] == [bad]
    remove(store, plan)
    assert store.get(bad) == b""


def test_a_name_lists_its_own_folders_only(store: MemoryStore) -> None:
    watched = FaultyStore(store)
    plan_removal(watched, Selection("kernels:add"))
    levels = [name for operation, name in watched.calls if operation == "children"]
    assert levels[0] == "v1/add~"
    assert all(name.startswith("v1/add~") for name in levels)


# -- bounds --------------------------------------------------------------------------------------


def test_what_lies_beside_too_much_of_one_key_is_told_and_left(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key("large")
    beside = [put_verdict(store, key, TIMES, work_class=f"c{n:02d}") for n in range(8)]
    data = store.get(beside[0])
    assert data is not None
    monkeypatch.setattr(record_reader, "_BYTES_OF_KEY", 3 * len(data))
    found = verify(store, set_aside=True)
    left = [bad for bad in found.bad if bad.reason == "unread"]
    assert {bad.name for bad in left} == set(sorted(beside)[3:])
    assert not any(bad.set_aside for bad in left)
    assert all(store.get(name) is not None for name in beside)
    monkeypatch.setattr(record_reader, "_NAMES", 5)
    assert verify(store).bad[-1].detail == "it holds more than 4 names"
