"""Records are carried from a store to a file, and from there into another store."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.factories import (
    H100,
    H200,
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
from tuneonce.errors import StoreReadOnly
from tuneonce.inspect import archive, carrying
from tuneonce.inspect.archive import Entry
from tuneonce.inspect.carrying import Exported, Imported, export, take_in
from tuneonce.replica.exchange import Step
from tuneonce.store import Store
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore

TIMES, OTHERS = {64: (0.2,), 128: (0.1,)}, {64: (0.1,), 128: (0.2,)}


def records(store: Store) -> dict[str, bytes | None]:
    return {name: store.get(name) for name in store.list("")}


def exported(
    store: Store, *, pattern: str | None = None, world: str | None = None
) -> tuple[Exported, bytes]:
    file = io.BytesIO()
    did = export(store, file, pattern=pattern, world=world)
    return did, file.getvalue()


def imported(store: Store, data: bytes, *, dry_run: bool = False) -> Imported:
    return take_in(store, io.BytesIO(data), "results", dry_run=dry_run)


def archived(*entries: Entry) -> bytes:
    file = io.BytesIO()
    archive.write(file, entries)
    return file.getvalue()


@pytest.fixture
def filled() -> MemoryStore:
    store = MemoryStore()
    for product in (H100, H200):
        put_verdict(store, make_key("add", product=product), TIMES)
        put_variants(store, make_key("mul", product=product), 64, 128)
    put_loose(store, make_key("mul"), 256, 0.3)
    return store


def test_what_is_shared_is_carried(filled: MemoryStore, tmp_path: Path) -> None:
    source = FileStore(tmp_path / "store")
    for name, data in records(filled).items():
        assert data is not None
        source.put(name, data)
    put_wanted(source, make_key("new"), 64)
    put_part(source, make_part())
    put_shared(source, make_shared())
    leave_in_journal(journal_folder(source), make_key("add"), 512, 0.3)
    source.put("v1/a~1/b~2/c/c02.0123456789ab.verdict.2.json", b"of a later version")
    did, data = exported(source)
    assert (did.records, did.kernels, did.unusable) == (5, 2, 0)
    target = MemoryStore()
    done = imported(target, data)
    assert (done.broken, done.landed.new) == (None, 5)
    assert records(target) == records(filled)
    again = imported(target, data)
    assert (again.landed.new, again.landed.known) == (0, 5)
    # From there the same file is written, whatever the kind of store.
    assert exported(target) == (did, data)


@pytest.mark.parametrize(
    ("pattern", "world", "number"),
    [
        ("add", None, 2),
        ("kernels:add", None, 2),
        ("*:a?d", None, 2),
        (None, H100, 2),
        (None, "*h200", 3),
        (None, "cuda:90", 5),  # what lies beside a loose measurement says its world
        ("mul", H200, 2),
        ("mul", "NVIDIA-H200-90", 2),
        ("none", None, 0),
        (None, "H20", 0),
    ],
)
def test_some_kernels_and_worlds(
    filled: MemoryStore, pattern: str | None, world: str | None, number: int
) -> None:
    did, data = exported(filled, pattern=pattern, world=world)
    assert did.records == number
    target = MemoryStore()
    assert imported(target, data).landed.new == number
    assert records(target).items() <= records(filled).items()


def test_what_is_not_whole_is_told_and_not_written(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    bad = put_damaged(store, tmp_path / "store")
    did, data = exported(store)
    assert (did.records, did.unusable) == (1, 4)
    for name, reason in bad.items():
        assert any(
            problem.startswith(f"{name} is not written: {reason}") for problem in did.problems
        )
    assert imported(MemoryStore(), data).landed.new == 1


def test_a_name_that_no_launch_makes_is_not_written(filled: MemoryStore) -> None:
    name = put_verdict(filled, make_key("add"), TIMES)
    data = filled.get(name)
    assert data is not None
    _, kernel, world, key, file = name.split("/")
    long = f"v1/{'x' * 180}~{kernel[-12:]}/{'x' * 180}~{world[-12:]}/{key}/{file}"
    filled.put(long, data)
    did, _ = exported(filled)
    assert (did.records, did.problems) == (
        5,
        [f"{long} is not written: misplaced: no launch looks for it there"],
    )


def test_what_is_removed_or_damaged_while_it_is_written_is_left_out(filled: MemoryStore) -> None:
    names = sorted(filled.list(""))
    gone, damaged = names[0], names[1]

    class Changing(MemoryStore):
        """Both are there when they are listed."""

        looked_at: list[str]

        def get(self, name: str) -> bytes | None:
            again = name in self.looked_at
            self.looked_at.append(name)
            if again and name == gone:
                return None
            return b"damaged" if again and name == damaged else filled.get(name)

    store = Changing()
    store.looked_at = []
    for name, data in records(filled).items():
        assert data is not None
        store.put(name, data)
    did, _ = exported(store)
    assert (did.records, did.unusable) == (3, 1)
    assert did.problems[0].startswith(f"{damaged} is not written: truncated")


# -- what comes ----------------------------------------------------------------------------------


def test_what_comes_is_compared_as_in_a_merge(filled: MemoryStore) -> None:
    _, data = exported(filled)
    better, worse = MemoryStore(), MemoryStore()
    name = put_verdict(better, make_key("add"), OTHERS, at=NOON + 1)
    put_verdict(worse, make_key("add"), OTHERS, at=NOON - 1)
    stays = better.get(name)
    did = imported(better, data).landed
    assert (did.new, did.kept, did.winners_differ) == (4, 1, 1)
    assert better.get(name) == stays
    dry = imported(worse, data, dry_run=True).landed
    assert len(records(worse)) == 1
    did = imported(worse, data).landed
    assert dry == did
    assert (did.new, did.replaced, did.winners_differ) == (4, 1, 1)
    assert [side.source for side in did.winners[0].others] == [worse.describe().location]
    assert did.winners[0].stays.source == "results"
    assert records(worse) == records(filled)


def test_what_this_version_does_not_know_is_counted_and_left(filled: MemoryStore) -> None:
    name = put_verdict(filled, make_key("add"), TIMES)
    folder = name.rpartition("/")[0]
    later = b'{"schema":"tuneonce.verdict/7","sha256":"0"}\n{}\n'
    wanted, part = MemoryStore(), MemoryStore()
    wanted_name = put_wanted(wanted, make_key("add"), 64)
    part_name = put_part(part, make_part())
    shared_name = put_shared(part, make_shared())
    whole = filled.get(name)
    assert whole is not None
    entries = {
        name: later,
        wanted_name: wanted.get(wanted_name) or b"",
        part_name: part.get(part_name) or b"",
        shared_name: part.get(shared_name) or b"",
        f"{folder}/c02.0123456789ab.verdict.2.json": b"of a later version",
        "v1/notes.txt": b"somebody's",
        "a": b"else",
        name.replace("/c02.", "/c03."): whole,
        f"{folder}/c09.0123456789ab.verdict.json": b"no record",
    }
    target = MemoryStore()
    done = imported(target, archived(*(Entry(*one) for one in sorted(entries.items()))))
    assert (done.landed.unknown, done.landed.unusable, done.broken) == (7, 2, None)
    assert [problem.split(": ")[1] for problem in done.landed.problems] == [
        "misplaced",
        "truncated",
    ]
    assert records(target) == {}


def test_what_came_before_the_damage_stays(filled: MemoryStore) -> None:
    _, data = exported(filled)
    target = MemoryStore()
    done = imported(target, data[:-20])
    assert done.broken == "it is cut short"
    assert done.landed.new == len(records(target))
    assert records(target).items() <= records(filled).items()
    assert imported(target, data).landed.known == done.landed.new
    assert records(target) == records(filled)
    assert imported(target, b"print('a program')").broken


def test_a_store_that_cannot_be_written_ends_it(filled: MemoryStore) -> None:
    _, data = exported(filled)
    with pytest.raises(StoreReadOnly):
        imported(ReadOnlyStore(MemoryStore()), data)


def test_progress_is_told(filled: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "_STEP", 2)
    file, steps = io.BytesIO(), list[Step]()
    export(filled, file, tell=steps.append)
    assert steps == [Step(2, 5), Step(4, 5)]
    file.seek(0)
    take_in(MemoryStore(), file, "results", tell=steps.append)
    assert steps[2:] == [Step(2), Step(4)]
