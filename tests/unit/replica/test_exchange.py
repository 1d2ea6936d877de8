"""Push and pull between a store and a replica, whatever the two have."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.factories import (
    H100,
    leave_in_journal,
    make_key,
    make_part,
    make_shared,
    make_verdict,
    put_damaged,
    put_loose,
    put_part,
    put_shared,
    put_variants,
    put_verdict,
    put_wanted,
)
from tests.fakes import journal_folder
from tuneonce.errors import StoreUnavailable
from tuneonce.model.records import pack, unpack
from tuneonce.model.shared_profiles import PERIOD_S, SharedProfile
from tuneonce.replica import base, exchange
from tuneonce.replica.base import Entry, Offer, Page, Replica, digest_of
from tuneonce.replica.exchange import Pulled, Pushed, Step, pull, push
from tuneonce.replica.in_memory import Shared, in_memory
from tuneonce.store import Store
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture
def replica() -> Replica:
    return in_memory(Shared())


def records(store: Store) -> dict[str, bytes | None]:
    return {name: store.get(name) for name in store.list("")}


def counts(did: Pushed | Pulled) -> dict[str, Any]:
    """What is not zero."""
    return {name: n for name in did.__struct_fields__ if (n := getattr(did, name))}


def test_one_machine_pushes_and_another_pulls(replica: Replica) -> None:
    one, other = MemoryStore(), MemoryStore()
    for name in ("add", "mul"):
        put_verdict(one, make_key(name), TIMES)
        put_variants(one, make_key(name, product=H100), 64, 128)
    put_loose(one, make_key("add"), 256, 0.3)
    assert counts(push(one, replica)) == {"new": 5}
    assert len(replica.shelves()) == 2
    assert counts(pull(other, replica)) == {"new": 5}
    assert records(other) == records(one)
    # And again, which changes nothing.
    assert counts(push(one, replica)) == {"known": 5}
    assert counts(push(other, replica)) == {"known": 5}
    assert counts(pull(other, replica)) == {"known": 5}


def test_what_is_of_this_machine_stays_here(replica: Replica, tmp_path: Path) -> None:
    store, other = FileStore(tmp_path / "store"), MemoryStore()
    put_wanted(store, make_key("add"), 64)
    put_part(store, make_part())
    leave_in_journal(journal_folder(store), make_key("add"), 256, 0.3)
    assert counts(push(store, replica)) == {}
    assert replica.shelves() == []
    assert counts(pull(other, replica)) == {}


def test_the_first_is_adopted_by_all(replica: Replica) -> None:
    first, second = MemoryStore(), MemoryStore()
    name = put_verdict(first, make_key("add"), TIMES)
    put_verdict(second, make_key("add"), {64: (0.1,), 128: (0.2,)})
    assert counts(push(first, replica)) == {"new": 1}
    assert counts(push(second, replica)) == {"others": 1}
    assert second.get(name) != first.get(name)  # a push writes nothing here
    assert counts(pull(second, replica)) == {"adopted": 1}
    assert second.get(name) == first.get(name)
    assert counts(pull(first, replica)) == {"known": 1}


def test_a_verdict_that_was_proven_wrong_is_replaced_everywhere(replica: Replica) -> None:
    wrong, right, late = MemoryStore(), MemoryStore(), MemoryStore()
    name = put_verdict(wrong, make_key("add"), TIMES)
    push(wrong, replica)
    put_verdict(right, make_key("add"), {64: (0.1,), 128: (0.2,)}, origin="rechecked")
    assert counts(pull(right, replica)) == {"kept": 1}
    assert counts(push(right, replica)) == {"replaced": 1}
    assert counts(pull(wrong, replica)) == {"adopted": 1}
    assert counts(push(wrong, replica)) == {"known": 1}
    assert counts(pull(late, replica)) == {"new": 1}
    assert wrong.get(name) == late.get(name) == right.get(name)
    # Of two that were proven wrong differently the first stays, too.
    put_verdict(late, make_key("add"), TIMES, origin="rechecked")
    assert counts(push(late, replica)) == {"others": 1}
    assert counts(pull(late, replica)) == {"adopted": 1}


def test_the_newer_measurement_stays_on_both_sides(replica: Replica) -> None:
    old, new = MemoryStore(), MemoryStore()
    name = put_loose(old, make_key("add"), 64, 0.2, at=1.0)
    put_loose(new, make_key("add"), 64, 0.1, at=2.0)
    assert counts(push(old, replica)) == {"new": 1}
    assert counts(pull(new, replica)) == {"kept": 1}
    assert counts(push(new, replica)) == {"replaced": 1}
    assert counts(push(old, replica)) == {"others": 1}
    assert counts(pull(old, replica)) == {"adopted": 1}
    assert old.get(name) == new.get(name)


def test_what_is_not_whole_goes_nowhere(replica: Replica, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    bad = put_damaged(store, tmp_path / "store")
    did = push(store, replica)
    # One of them is a folder where a record belongs, which is no name of a record.
    assert (did.new, did.unusable) == (1, 3)
    for problem in did.problems:
        assert any(problem.startswith(name) for name in bad)
    assert counts(pull(MemoryStore(), replica)) == {"new": 1}


def test_what_is_not_whole_is_not_taken_and_does_not_stay(replica: Replica) -> None:
    store, other = MemoryStore(), MemoryStore()
    name = put_verdict(store, make_key("add"), TIMES)
    data = store.get(name)
    assert data is not None
    shelf = name.split("/")[2]
    elsewhere = name.replace(shelf, "other~0")
    replica.push(shelf, [Offer(name, data[:-9]), Offer("v1/strange", b"x"), Offer(elsewhere, data)])
    did = pull(other, replica)
    assert (did.new, did.unusable, len(did.problems)) == (0, 3, 3)
    assert records(other) == {}
    # Whoever has a whole one puts it in its place.
    assert counts(push(store, replica)) == {"replaced": 1}
    assert pull(other, replica).new == 1


@pytest.mark.parametrize("folder", ["..", "k\n", "a b", ".hidden", "ä", "x" * 300])
def test_a_name_that_no_record_can_have_is_not_taken(replica: Replica, folder: str) -> None:
    store = MemoryStore()
    name = put_verdict(store, make_key("add"), TIMES)
    root, _, shelf, key, last = name.split("/")
    planted = Entry("/".join((root, folder, shelf, key, last)), store.get(name) or b"")

    def pulled(shelf: str, cursor: str) -> Page:
        return Page(entries=[planted], cursor="end")

    push(store, replica)
    with mock.patch.object(replica, "pull", pulled):
        did = pull(MemoryStore(), replica)
    assert (did.new, did.unusable) == (0, 1)


def test_what_is_here_already_is_not_looked_at_again(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    put_verdict(store, make_key("add"), TIMES)
    push(store, replica)
    monkeypatch.setattr(exchange, "checked", None)
    assert counts(pull(store, replica)) == {"known": 1}


def test_what_is_on_another_shelf_is_not_taken(replica: Replica) -> None:
    store = MemoryStore()
    name = put_loose(store, make_key("add"), 64, 0.2)
    data = store.get(name)
    assert data is not None
    replica.push("NVIDIA-H100-90~0", [Offer(name, data)])
    did = pull(MemoryStore(), replica)
    assert (did.new, did.unusable) == (0, 1)


def test_a_broken_record_here_is_mended(replica: Replica) -> None:
    store, other = MemoryStore(), MemoryStore()
    name = put_verdict(store, make_key("add"), TIMES)
    push(store, replica)
    other.put(name, b"broken")
    assert counts(pull(other, replica)) == {"adopted": 1}
    assert records(other) == records(store)


def test_what_was_cut_off_goes_on(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PART", 10)
    store, other = MemoryStore(), MemoryStore()
    for number in range(35):
        put_verdict(store, make_key(f"k{number}"), TIMES)

    class CutOff(Exception):
        pass

    def after_two(step: Step) -> None:
        steps.append(step)
        if len(steps) == 2:
            raise CutOff

    steps: list[Step] = []
    with pytest.raises(CutOff):
        push(store, replica, tell=after_two)
    assert steps == [Step(10, 35), Step(20, 35)]
    assert counts(push(store, replica)) == {"new": 15, "known": 20}
    failing = Failing(after=12)
    with pytest.raises(StoreUnavailable):
        pull(failing, replica)
    assert counts(pull(failing, replica)) == {"new": 23, "known": 12}
    assert counts(pull(other, replica, tell=steps.append)) == {"new": 35}
    assert records(other) == records(store) == records(failing)
    assert steps[-1] == Step(35)


class Failing(MemoryStore):
    """Fails once, at the put after so many."""

    def __init__(self, *, after: int) -> None:
        super().__init__()
        self.left = after

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        assert not durable
        self.left -= 1
        if self.left == -1:
            raise StoreUnavailable("gone")
        return super().put_if_absent(name, data, durable=durable)


def test_a_replica_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(type(in_memory())):  # type: ignore[misc]
        asked = 0

        def shelves(self) -> list[str]:
            return ["w~1"]

        def pull(self, shelf: str, since: str = "") -> Page:
            self.asked += 1
            return Page(self.entries, self.next_cursor(since), more=True)

    endless = Endless(in_memory()._space, in_memory().describe(), "x")
    endless.entries, endless.next_cursor = [], lambda since: since
    assert counts(pull(MemoryStore(), endless)) == {}
    assert endless.asked == 1
    monkeypatch.setattr(exchange, "_MOST_PAGES", 50)
    endless.next_cursor = lambda since: since + "x"
    assert counts(pull(MemoryStore(), endless)) == {}
    assert endless.asked == 51
    monkeypatch.setattr(exchange, "MOST_PULLED_BYTES", 1000)
    endless.entries = [("v1/strange", bytes(600))]
    with pytest.raises(StoreUnavailable, match="more than is pulled at once"):
        pull(MemoryStore(), endless)
    assert endless.asked == 53


def test_many_problems_are_counted_and_some_told(replica: Replica) -> None:
    replica.push("w~1", [Offer(f"v1/strange{number}", b"x") for number in range(100)])
    did = pull(MemoryStore(), replica)
    assert (did.unusable, len(did.problems)) == (100, 20)


def test_what_is_held_is_compared_by_content(replica: Replica) -> None:
    store = MemoryStore()
    key = make_key("add")
    name = put_verdict(store, key, TIMES)
    push(store, replica)
    held = replica.holds(name.split("/")[2], [name])
    assert held == {name: digest_of(pack(make_verdict(key, TIMES)))}


# -- what programs needed ------------------------------------------------------------------------


def kernels_in(store: Store, name: str) -> set[str]:
    data = store.get(name)
    assert data is not None
    return {one.kernel for one in unpack(data, SharedProfile).variants}


def test_what_programs_needed_travels(replica: Replica) -> None:
    one, other = MemoryStore(), MemoryStore()
    put_part(one, make_part())
    put_shared(one, make_shared())
    put_shared(one, make_shared(key=make_key("add", product=H100)))
    assert counts(push(one, replica)) == {"new": 2}
    assert len(replica.shelves()) == 2
    assert counts(pull(other, replica)) == {"new": 2}
    assert counts(push(other, replica)) == counts(push(one, replica)) == {"known": 2}


@pytest.mark.parametrize("pulls", [False, True])
def test_what_two_machines_needed_comes_to_both(replica: Replica, pulls: bool) -> None:
    """Whether they have pulled before they push or not, so after one exchange."""
    one, other = MemoryStore(), MemoryStore()
    name = put_shared(one, make_shared(kernels=("m:a", "m:c")))
    put_shared(other, make_shared(kernels=("m:b", "m:c")))
    push(one, replica)
    if pulls:
        assert counts(pull(other, replica)) == {"adopted": 1}
    assert counts(push(other, replica)) == {"replaced": 1}
    for store in (one, other):
        pull(store, replica)
        assert kernels_in(store, name) == {"m:a", "m:b", "m:c"}
        assert counts(push(store, replica)) == {"known": 1}
    assert one.get(name) == other.get(name)


def test_who_needed_less_or_the_same_at_another_time_writes_nothing(replica: Replica) -> None:
    one, other = MemoryStore(), MemoryStore()
    now = PERIOD_S * (time.time() // PERIOD_S)
    name = put_shared(one, make_shared(kernels=("m:a", "m:b"), at=now + 1))
    put_shared(other, make_shared(kernels=("m:a",), at=now + 9))
    push(one, replica)
    assert counts(push(other, replica)) == {"others": 1}
    assert counts(pull(other, replica)) == {"adopted": 1}
    assert other.get(name) == one.get(name)


def test_what_two_machines_needed_is_pushed_in_parts_though_it_is_more(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = MemoryStore(), MemoryStore()
    for number in range(9):
        many = tuple(f"m:{n}" for n in range(20))
        put_shared(one, make_shared(f"server {number}", kernels=many))
        put_shared(other, make_shared(f"server {number}", kernels=("m:x",)))
    push(one, replica)
    size = sum(len(data or b"") for data in records(other).values())
    monkeypatch.setattr(base, "MOST_OFFERED_BYTES", 2 * size)
    assert counts(push(other, replica)) == {"replaced": 9}


def test_one_that_cannot_be_used_is_not_taken_and_does_not_stay(replica: Replica) -> None:
    store, here = MemoryStore(), MemoryStore()
    name = put_shared(store, make_shared(kernels=("m:a",)))
    good, shelf = store.get(name) or b"", name.rpartition("/")[2].removesuffix(".shared.json")
    elsewhere = name.replace("server~", "server~0")
    replica.push(shelf, [Offer(name, good[:-9]), Offer(elsewhere, good)])
    replica.push("NVIDIA-H100-90~0", [Offer(name, good)])
    put_shared(here, make_shared(kernels=("m:b",)))
    did = pull(here, replica)
    assert (did.new, did.adopted, did.unusable) == (0, 0, 3)
    assert kernels_in(here, name) == {"m:b"}
    assert counts(push(here, replica)) == {"replaced": 1}
    assert pull(store, replica).adopted == 1
    assert kernels_in(store, name) == {"m:a", "m:b"}
