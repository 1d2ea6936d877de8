"""Records that cannot be used and stores that do not work, as a resolver meets them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec
import pytest

from tests.fakes import FaultyStore, measured, question
from tests.unit.resolution.desk import Desk, d, measurement_name, small_then_big, verdict_name
from tuneonce.errors import (
    RecordUnreadable,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    Unreadable,
)
from tuneonce.model.records import Verdict, pack, unpack
from tuneonce.resolution.resolver import Outcome, Question
from tuneonce.store import Store
from tuneonce.store.files import FileStore
from tuneonce.store.readonly import ReadOnlyStore

# -- records that cannot be used -----------------------------------------------------------------


def copy(store: Store, source: str, target: str) -> None:
    data = store.get(source)
    assert data is not None
    store.put(target, data)


@pytest.mark.parametrize(
    ("asked", "copied"),
    [
        (question(16, 32, n=2), "another tuning key"),
        (question(16, 32, kernel="sub"), "another kernel"),
        (question(16, 32, product="H20"), "another world"),
        (question(16, 32, work_class="c09"), "another size"),
        (question(16, 32, 64), "another list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_verdict_in_anothers_place_does_not_answer(
    desk: Desk, asked: Question, copied: str
) -> None:
    right = question(16, 32)
    desk.tune(right, *small_then_big("c03"))
    copy(desk.store, verdict_name(right), verdict_name(asked))
    found = desk.resolve(asked)
    assert found.outcome is not Outcome.HIT
    assert desk.events.problems() == ["record_unreadable"]
    assert "misplaced" in desk.events.seen[0]["detail"]
    assert desk.store.get(verdict_name(asked)) is None
    assert desk.another().resolve(right).outcome is Outcome.HIT


@pytest.mark.parametrize(
    ("asked", "block"),
    [
        (question(16, 32, n=2), 16),
        (question(16, 32, work_class="c09"), 16),
        (question(16, 32), 32),
    ],
    ids=["another tuning key", "another size", "another candidate"],
)
def test_a_measurement_in_anothers_place_does_not_answer(
    desk: Desk, asked: Question, block: int
) -> None:
    right = question(16, 32)
    desk.record(right, measured(16, 1.0))
    copy(desk.store, measurement_name(right, 16), measurement_name(asked, block))
    found = desk.resolve(asked)
    assert d(block) not in found.known
    assert desk.events.problems() == ["record_unreadable"]
    assert "misplaced" in desk.events.seen[0]["detail"]


def test_a_kernel_folder_that_was_copied_answers_nobody_else(desk: Desk) -> None:
    # One key's folder under another kernel's name: the last folder still says whose it is.
    right, other = question(16, 32), question(16, 32, kernel="sub")
    desk.tune(right, *small_then_big("c03"))
    name = verdict_name(right).replace(right.key.directory, other.key.directory)
    copy(desk.store, verdict_name(right), name)
    assert desk.resolve(other).outcome is Outcome.MISS


def test_a_verdict_whose_winner_is_no_candidate_is_set_aside(desk: Desk) -> None:
    asked = question(16, 32)
    desk.tune(asked, *small_then_big("c03"))
    data = desk.store.get(verdict_name(asked))
    assert data is not None
    body = msgspec.to_builtins(unpack(data, Verdict))
    forged = Verdict(**{**body, "measurements": [], "winner": d(16), "candidates": [d(16)]})
    desk.store.put(verdict_name(asked), pack(forged))
    assert desk.resolve(asked).outcome is Outcome.MISS
    assert desk.events.problems() == ["record_unreadable"]


def test_a_bad_record_is_set_aside_and_counted_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    asked = question(16, 32)
    desk.store.put(verdict_name(asked), b"garbage\n")
    desk.store.put(measurement_name(asked, 16), b"")
    desk.record(asked, measured(32, 1.0))
    with caplog.at_level(logging.WARNING, "tuneonce"):
        found = desk.resolve(asked)
        assert (found.outcome, set(found.known)) == (Outcome.PARTIAL, {d(32)})
        assert desk.events.problems() == ["record_unreadable"] * 2
        assert desk.resolve(asked).outcome is Outcome.PARTIAL
        assert desk.another().resolve(asked).outcome is Outcome.PARTIAL
    assert desk.events.problems() == ["record_unreadable"] * 2
    assert len(caplog.records) == 2
    assert desk.names() == [f"c03.{d(32)}.measured.json"]


def test_of_two_processes_the_one_that_moves_it_counts_it(store: Store) -> None:
    asked = question(16, 32)
    store.put(verdict_name(asked), b"garbage\n")
    second = Desk(store)

    class Overtaken(FaultyStore):
        def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
            second.resolve(asked)
            return super().set_aside(name, seen=seen)

    first = Desk(Overtaken(store))
    assert first.resolve(asked).outcome is Outcome.MISS
    assert (first.events.problems(), second.events.problems()) == ([], ["record_unreadable"])


def test_a_bad_record_that_must_stay_is_counted_once_by_each_process(desk: Desk) -> None:
    asked = question(16, 32)
    desk.store.put(verdict_name(asked), b"garbage\n")
    for wrapped in (
        ReadOnlyStore(desk.store),
        FaultyStore(desk.store, set_aside=StoreReadOnly("not yours")),
    ):
        process = Desk(wrapped)
        for _ in range(3):
            assert process.resolve(asked).outcome is Outcome.MISS
        assert process.events.problems() == ["record_unreadable"]
        assert "left in place" in process.events.seen[0]["detail"]


@pytest.mark.parametrize("reason", [Unreadable.OWNER, Unreadable.PERMISSION])
def test_what_another_user_may_need_is_counted_and_stays(
    store: Store, reason: Unreadable, caplog: pytest.LogCaptureFixture
) -> None:
    asked = question(16, 32)
    Desk(store).tune(asked, *small_then_big("c03"))
    theirs = store.get(verdict_name(asked))

    class Closed(FaultyStore):
        def get(self, name: str) -> bytes | None:
            if name == verdict_name(asked):
                raise RecordUnreadable(name, reason, detail="user 7")
            return super().get(name)

    first = Desk(Closed(store))
    with caplog.at_level(logging.WARNING, "tuneonce"):
        assert first.resolve(asked).outcome is Outcome.MISS
        assert first.tune(asked, *small_then_big("c03")) == d(16)
        # What cannot be published is put together from what was measured.
        again = first.another().resolve(asked)
    assert (again.outcome, again.winner, again.reason) == (Outcome.HIT, d(16), "assembled")
    assert first.events.problems() == ["record_unreadable"]
    assert "user 7" in first.events.seen[0]["detail"]
    assert caplog.records == []
    assert store.get(verdict_name(asked)) == theirs
    assert Desk(store).resolve(asked).reason is None


def test_a_folder_that_is_closed_is_a_miss_and_no_failure_of_the_store(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    asked = question(16, 32)
    closed = RecordUnreadable("x/", Unreadable.PERMISSION, detail="as user 7")
    desk = Desk(FaultyStore(store, get=closed, children=closed))
    with caplog.at_level(logging.WARNING, "tuneonce"):
        assert desk.resolve(asked).outcome is Outcome.MISS
        assert desk.resolve(asked).outcome is Outcome.MISS
    assert set(desk.events.problems()) == {"record_unreadable"}
    assert len(desk.events.problems()) == 2  # the record and the folder, once each
    assert caplog.records == []


def test_a_record_of_another_version_is_counted_and_stays(desk: Desk) -> None:
    asked = question(16, 32)
    desk.tune(asked, *small_then_big("c03"))
    data = desk.store.get(verdict_name(asked))
    assert data is not None
    theirs = data.replace(b'"tuneonce.verdict/1"', b'"tuneonce.verdict/2"')
    desk.store.put(verdict_name(asked), theirs)
    assert desk.resolve(asked).outcome is Outcome.MISS
    desk.tune(asked, *small_then_big("c03"))
    assert desk.another().resolve(asked).outcome is Outcome.HIT
    assert desk.events.problems() == ["record_unreadable"]
    assert desk.store.get(verdict_name(asked)) == theirs


@pytest.mark.parametrize("thing", ["directory", "symlink", "fifo", "sparse"])
def test_something_else_in_a_records_place(tmp_path: Path, thing: str) -> None:
    asked = question(16, 32)
    desk = Desk(FileStore(tmp_path / "store"))
    desk.tune(asked, *small_then_big("c03"))
    path = tmp_path / "store" / verdict_name(asked)
    place(path, thing)
    assert desk.resolve(asked).outcome is Outcome.MISS
    assert desk.events.problems() == ["record_unreadable"]
    desk.tune(asked, *small_then_big("c03"))
    assert desk.another().resolve(asked).outcome is Outcome.HIT


@pytest.mark.parametrize("thing", ["directory", "symlink", "fifo"])
def test_something_else_in_a_measurements_place(tmp_path: Path, thing: str) -> None:
    asked = question(16, 32)
    desk = Desk(FileStore(tmp_path / "store"))
    desk.record(asked, measured(16, 1.0), measured(32, 2.0))
    place(tmp_path / "store" / measurement_name(asked, 16), thing)
    desk.record(asked, measured(16, 1.0))
    assert set(desk.another().resolve(asked).known) == {d(16), d(32)}
    # Writing replaces a link or a pipe without a look at it; a directory has to be moved.
    assert desk.events.problems() == (["record_unreadable"] if thing == "directory" else [])


def place(path: Path, thing: str) -> None:
    path.unlink()
    if thing == "directory":
        (path / "inside").mkdir(parents=True)
    elif thing == "symlink":
        path.symlink_to("/etc/passwd")
    elif thing == "fifo":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)


def test_a_file_in_a_folders_place(tmp_path: Path) -> None:
    asked = question(16, 32)
    desk = Desk(FileStore(tmp_path / "store"))
    folder = tmp_path / "store" / asked.key.directory
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    assert desk.resolve(asked).outcome is Outcome.MISS
    assert desk.events.problems() == ["record_unreadable"]
    desk.tune(asked, *small_then_big("c03"))
    assert desk.another().resolve(asked).outcome is Outcome.HIT


# -- stores that fail ----------------------------------------------------------------------------

ERRORS = [
    StoreUnavailable("the network is gone"),
    StoreFull("no space left"),
    StoreReadOnly("may not be written"),
    StoreError("something else"),
    RecordUnreadable("a name", Unreadable.PERMISSION),
]
OPERATIONS = ["get", "put", "put_if_absent", "delete_if", "children", "set_aside"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("operation", [*OPERATIONS, "all"])
def test_a_store_that_fails_costs_results_and_raises_nothing(
    store: Store, operation: str, error: StoreError, caplog: pytest.LogCaptureFixture
) -> None:
    before = Desk(store)
    known = question(16, 32, n=7)
    before.tune(known, *small_then_big("c03"))
    store.put(verdict_name(question(16, 32, n=8)), b"garbage")
    faults = dict.fromkeys(OPERATIONS if operation == "all" else [operation], error)
    desk = Desk(FaultyStore(store, **faults))
    with caplog.at_level(logging.WARNING, "tuneonce"):
        for asked in (known, question(16, 32), question(16, 32, n=8)):
            for _ in range(3):
                found = desk.resolve(asked)
                if found.winner is None:
                    assert desk.tune(asked, *small_then_big("c03")) == d(16)
                else:
                    assert found.winner == d(16)
    problems = desk.events.problems()
    assert problems.count("store_failed") <= 1
    told = [record for record in caplog.records if "going on without it" in record.message]
    assert len(told) == problems.count("store_failed")
    if not isinstance(error, RecordUnreadable) and operation not in ("delete_if", "set_aside"):
        assert problems.count("store_failed") == 1
        assert type(error).__name__ in next(
            e["detail"] for e in desk.events.seen if e.get("what") == "store_failed"
        )


def test_a_store_that_may_be_read_still_hits(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    asked = question(16, 32)
    Desk(store).tune(asked, *small_then_big("c03"))
    Desk(store).record(question(16, 32, n=2), *small_then_big("c03"))
    desk = Desk(ReadOnlyStore(store))
    with caplog.at_level(logging.WARNING, "tuneonce"):
        assert desk.resolve(asked).outcome is Outcome.HIT
        assert desk.resolve(question(16, 32, work_class="c09")).outcome is Outcome.PROVISIONAL
        assert desk.events.seen == []
        # All is known, so there is a winner, even if it cannot be published.
        found = desk.resolve(question(16, 32, n=2))
        assert (found.outcome, found.winner) == (Outcome.HIT, d(16))
        for n in (3, 4):
            assert desk.tune(question(16, 32, n=n), *small_then_big("c03")) == d(16)
    assert desk.events.problems() == ["store_failed"]
    assert len(caplog.records) == 1


def test_a_key_that_cannot_be_listed_is_a_miss(store: Store) -> None:
    asked = question(16, 32)
    Desk(store).record(asked, *small_then_big("c03"))
    desk = Desk(FaultyStore(store, children=StoreUnavailable("gone")))
    assert desk.resolve(asked).outcome is Outcome.MISS
    assert desk.events.problems() == ["store_failed"]
