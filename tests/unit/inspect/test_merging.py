"""Several stores are put into one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import (
    H100,
    NOON,
    leave_in_journal,
    make_key,
    make_part,
    make_shared,
    put_damaged,
    put_loose,
    put_part,
    put_shared,
    put_variants,
    put_verdict,
    put_wanted,
)
from tests.fakes import journal_folder
from tuneonce.errors import RecordUnreadable, StoreReadOnly, StoreUnavailable, Unreadable
from tuneonce.inspect import merging
from tuneonce.inspect.merging import merge
from tuneonce.replica.exchange import Step
from tuneonce.store import Store
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMES, OTHERS = {64: (0.2,), 128: (0.1,)}, {64: (0.1,), 128: (0.2,)}


def records(store: Store) -> dict[str, bytes | None]:
    return {name: store.get(name) for name in store.list("")}


def test_all_that_is_shared_goes_there_and_what_is_of_one_machine_stays(tmp_path: Path) -> None:
    one, other = FileStore(tmp_path / "one"), MemoryStore()
    put_verdict(one, make_key("add"), TIMES)
    put_variants(one, make_key("add", product=H100), 64, 128)
    put_loose(other, make_key("add"), 256, 0.3)
    put_verdict(other, make_key("mul"), TIMES)
    shared = {**records(one), **records(other)}
    put_wanted(one, make_key("mul"), 64)
    put_part(one, make_part())
    put_shared(one, make_shared())
    leave_in_journal(journal_folder(one), make_key("add"), 512, 0.3)
    one.put("v1/a~1/b~2/c/c02.0123456789ab.verdict.2.json", b"of a later version")
    before = records(one)
    target = FileStore(tmp_path / "target")
    assert merge([ReadOnlyStore(one), ReadOnlyStore(other)], target).new == 4
    assert records(target) == shared
    assert not journal_folder(target).exists()
    assert merge([one, other], target).known == 4
    assert records(one) == before


def test_each_name_is_written_once_and_any_order_is_the_same(tmp_path: Path) -> None:
    stores = [MemoryStore() for _ in range(3)]
    for number, store in enumerate(stores):
        put_verdict(store, make_key("add"), (TIMES, OTHERS)[number % 2], at=NOON + number % 2)

    class Counting(MemoryStore):
        puts = 0

        def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
            self.puts += 1
            assert not durable
            return super().put_if_absent(name, data, durable=durable)

        def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
            raise AssertionError

    forth, back = Counting(), Counting()
    did = merge(stores, forth)
    assert (did.new, did.conflicts, did.winners_differ, forth.puts) == (1, 1, 1, 1)
    merge(stores[::-1], back)
    assert records(forth) == records(back) == records(stores[1])


def test_what_is_not_whole_is_told_with_its_place(tmp_path: Path) -> None:
    source = FileStore(tmp_path / "source")
    bad = put_damaged(source, tmp_path / "source")
    did = merge([source], MemoryStore())
    # One of them is a folder where a record belongs, which is no name of a record.
    assert (did.new, did.unusable) == (1, 3)
    for problem in did.problems:
        assert any(problem.startswith(f"{name} of {tmp_path}/source ") for name in bad)


def test_a_folder_that_is_closed_hides_no_other_one() -> None:
    class Closed(MemoryStore):
        def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
            if prefix.startswith("v1/add~") and prefix.count("/") == 2:
                raise RecordUnreadable(prefix, Unreadable.PERMISSION, detail="as user 7")
            return super().children(prefix, limit=limit)

    source = Closed()
    put_verdict(source, make_key("add"), TIMES)
    put_verdict(source, make_key("mul"), TIMES)
    did = merge([source], MemoryStore())
    assert (did.new, did.unusable) == (1, 1)
    assert did.problems[0].endswith("is not taken: no permission: as user 7")


def test_a_record_that_is_removed_meanwhile_is_no_problem() -> None:
    class Vanishing(MemoryStore):
        def get(self, name: str) -> bytes | None:
            return None

    source = Vanishing()
    put_verdict(source, make_key("add"), TIMES)
    assert merge([source], MemoryStore()) == merge([], MemoryStore())


def test_progress_is_told_and_a_failure_of_a_store_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_STEP", 2)
    source = MemoryStore()
    for number in range(5):
        put_verdict(source, make_key(f"k{number}"), TIMES)
    steps: list[Step] = []
    target = MemoryStore()
    merge([source], target, tell=steps.append)
    assert steps == [Step(2, 5), Step(4, 5), Step(5, 5)]
    with pytest.raises(StoreReadOnly):
        merge([source], ReadOnlyStore(MemoryStore()))

    class Gone(MemoryStore):
        def get(self, name: str) -> bytes | None:
            raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        merge([source], Gone())


def test_a_dry_run_says_the_same_of_several_sources() -> None:
    one, other, target = MemoryStore(), MemoryStore(), MemoryStore()
    put_verdict(one, make_key("add"), TIMES)
    put_verdict(other, make_key("add"), OTHERS, at=NOON + 1)
    put_verdict(target, make_key("mul"), OTHERS)
    put_verdict(one, make_key("mul"), TIMES, at=NOON + 1)
    before = records(target)
    dry = merge([one, other], target, dry_run=True)
    assert records(target) == before
    assert dry == merge([one, other], target)
    assert (dry.new, dry.replaced, dry.winners_differ) == (1, 1, 2)
