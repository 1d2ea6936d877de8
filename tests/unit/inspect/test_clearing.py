"""What was planned is removed, as long as it is still that."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.factories import (
    leave_in_journal,
    let_age,
    make_key,
    make_part,
    put_kept,
    put_loose,
    put_part,
    put_variants,
    put_verdict,
    put_wanted,
)
from tuneonce.errors import StoreReadOnly
from tuneonce.inspect.clearing import Cleared, clear
from tuneonce.inspect.garbage import Criteria, Places, Plan, plan
from tuneonce.model.record_names import journal_file
from tuneonce.resolution.journal import Journals
from tuneonce.store.files import FileStore

DAY = 24 * 3600.0
TIMES = {64: (0.2,), 128: (0.1,)}
KEY = make_key()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """One with a key that was written 40 days ago, and all that can belong to it."""
    made = FileStore(tmp_path / "store")
    names = [put_verdict(made, KEY, TIMES), put_verdict(made, KEY, TIMES, work_class="c05")]
    names += [put_variants(made, KEY, *TIMES), put_loose(made, KEY, 512, 0.1)]
    let_age(made, *names, put_wanted(made, KEY, 512))
    return made


def found_in(store: FileStore) -> Plan:
    journals = Places((Path(store.describe().location, ".journal"),))
    asked = Criteria(written_before=time.time() - 30 * DAY)
    return plan(store, asked, now=time.time(), places=journals)


def test_a_key_goes_with_all_that_belongs_to_it(store: FileStore) -> None:
    found = found_in(store)
    done = clear(store, found)
    assert (done.keys, done.profiles, done.changed, done.refused) == (1, 0, 0, 0)
    assert done.bytes == found.going[0].bytes
    assert list(Path(store.describe().location).iterdir()) == []


def test_again_is_nothing(store: FileStore) -> None:
    found = found_in(store)
    clear(store, found)
    assert clear(store, found) == Cleared(changed=1)
    assert clear(store, found_in(store)) == Cleared()


def test_profiles_and_what_is_left_over_go_too(store: FileStore) -> None:
    let_age(store, put_part(store, make_part()), put_part(store, make_part(start="s2")))
    place = put_kept(store, "ABCDEFGH")
    let_age(store, str(place / "ABCDEFGH.zip"))
    done = clear(store, found_in(store))
    assert (done.keys, done.profiles, done.left_over["binaries"].files) == (1, 1, 1)
    assert [path for path in Path(store.describe().location).rglob("*") if path.is_file()] == []


def test_a_journal_goes_with_its_key(store: FileStore) -> None:
    place = Path(store.describe().location, ".journal")
    leave_in_journal(place, KEY, 64, 0.1)
    let_age(store, *(str(path) for path in place.iterdir()), days=35)
    assert clear(store, found_in(store)).keys == 1
    assert list(place.iterdir()) == []


def test_a_key_that_is_being_tuned_stays(store: FileStore) -> None:
    place = Path(store.describe().location, ".journal")
    leave_in_journal(place, KEY, 64, 0.1)
    let_age(store, *(str(path) for path in place.iterdir()), days=20)
    found = found_in(store)
    file = journal_file(KEY.digest, "c02")
    journal = Journals(lambda: [place]).begin(file, "gpu", KEY.directory)
    assert journal is not None
    before = sorted(store.list("v1/"))
    assert clear(store, found) == Cleared(changed=1)
    assert sorted(store.list("v1/")) == before
    journal.close()


def test_a_key_to_which_something_came_stays(store: FileStore) -> None:
    found = found_in(store)
    put_verdict(store, KEY, TIMES, work_class="c09")
    before = sorted(store.list("v1/"))
    assert clear(store, found) == Cleared(changed=1)
    assert sorted(store.list("v1/")) == before


class Replaced(FileStore):
    """One in which another process replaces a record between its being read and removed."""

    def delete_if(self, name: str, expected: bytes) -> bool:
        if ".c05." in f".{name.rpartition('/')[2]}":
            put_verdict(self, KEY, {64: (0.1,), 128: (0.2,)}, work_class="c05")
        return super().delete_if(name, expected)


def test_a_record_that_is_replaced_meanwhile_stays(store: FileStore) -> None:
    other = Replaced(store.describe().location)
    done = clear(other, found_in(store))
    assert (done.keys, done.changed) == (0, 1)
    [left] = store.list("v1/")
    assert b'"winner"' in (store.get(left) or b"")


class Renewed(FileStore):
    """One in which another process replaces a record after it was seen, before it is read."""

    def get(self, name: str) -> bytes | None:
        if ".verdict." in name and "/c05." in name:
            put_verdict(self, KEY, {64: (0.1,), 128: (0.2,)}, work_class="c05")
        return super().get(name)


def test_a_record_that_was_replaced_before_it_was_read_stays(store: FileStore) -> None:
    other = Renewed(store.describe().location)
    done = clear(other, found_in(store))
    assert (done.keys, done.changed) == (0, 1)
    assert [name for name in store.list("v1/") if "/c05." in name]


class Ended(FileStore):
    """One whose process is ended after so many removals."""

    left = 0

    def delete_if(self, name: str, expected: bytes) -> bool:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().delete_if(name, expected)


def words(store: FileStore) -> set[str]:
    return {name.split(".")[-2] for name in store.list("v1/")}


@pytest.mark.parametrize("removals", range(5))
def test_whoever_is_ended_leaves_no_half_that_costs(store: FileStore, removals: int) -> None:
    """As long as anything is there, a verdict is, and what is left goes next time."""
    ended = Ended(store.describe().location)
    ended.left = removals
    with pytest.raises(KeyboardInterrupt):
        clear(ended, found_in(store))
    assert "verdict" in words(store)
    if removals > 2:
        assert words(store) == {"verdict"}
    assert clear(store, found_in(store)).keys == 1
    assert words(store) == set()


class Refusing(FileStore):
    """One in which a folder may not be written to."""

    def delete_if(self, name: str, expected: bytes) -> bool:
        raise StoreReadOnly("no")


def test_what_may_not_be_removed_is_counted(store: FileStore) -> None:
    done = clear(Refusing(store.describe().location), found_in(store))
    assert done == Cleared(refused=1)
    assert len(list(store.list("v1/"))) == 5


def test_it_can_be_ended_between_two_keys(store: FileStore) -> None:
    def each() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        clear(store, found_in(store), each=each)
    assert len(list(store.list("v1/"))) == 5
