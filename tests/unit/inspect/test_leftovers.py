"""What nobody needs any more, and when that is so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories import leave_in_journal, make_key, put_kept, put_verdict
from tuneonce.inspect.leftovers import LeftOvers, by_kind, remove
from tuneonce.model.record_names import journal_file
from tuneonce.resolution.journal import Journals
from tuneonce.resolution.left_journals import journals_in
from tuneonce.store.files import FileStore
from tuneonce.store.walking import walk

DAY, HOUR = 24 * 3600.0, 3600.0
TIMES = {64: (0.2,), 128: (0.1,)}
KEY = make_key()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """One with a key, and something left over of each kind."""
    made = FileStore(tmp_path / "store")
    root = tmp_path / "store"
    put_verdict(made, KEY, TIMES)
    made.set_aside(put_verdict(made, make_key("bad"), TIMES))
    (root / KEY.directory / ".tmp-1-0123456789abcdef").write_text("cut")
    (root / KEY.directory / "notes.txt").write_text("theirs")
    place = put_kept(made, "ABCDEFGH")
    (place / ".draft-x").write_text("cut")
    (place / "notes.txt").write_text("theirs")
    leave_in_journal(root / ".journal", KEY, 64, 0.1)
    return made


Look = Callable[..., LeftOvers]


@pytest.fixture
def look(store: FileStore) -> Look:
    """What is left over, so many seconds from now."""
    root = store.describe().location

    def look(later: float = 0.0) -> LeftOvers:
        found = LeftOvers(root, time.time() + later)
        for folder in walk(root):
            found.see(folder)
        found.see_journals(journals_in([Path(root, ".journal")]))
        return found

    return look


def kinds(found: LeftOvers) -> dict[str, int]:
    return {kind: held.files for kind, held in by_kind(found.found).items()}


def test_what_is_young_may_be_in_use(look: Look) -> None:
    assert kinds(look()) == {}
    assert kinds(look(HOUR - 60)) == {}


def test_after_an_hour_writers_were_killed(look: Look, store: FileStore) -> None:
    assert kinds(look(HOUR + 60)) == {"binaries": 1, "folders": 1, "temporary": 1}


def test_after_a_month_all_of_it_goes_and_nothing_else(look: Look, store: FileStore) -> None:
    found = look(31 * DAY)
    expected = {"binaries": 2, "folders": 1, "journals": 1, "set aside": 1, "temporary": 1}
    assert kinds(found) == expected
    assert found.others.files == 0
    gone = remove(found.found)
    assert {kind: held.files for kind, held in gone.items()} == expected
    assert gone["binaries"].bytes == 1003
    left = [path for path in Path(store.describe().location).rglob("*") if path.is_file()]
    assert sorted(path.name.split(".")[-2] for path in left) == ["notes", "notes", "verdict"]
    assert remove(found.found) == {}
    assert kinds(look(31 * DAY)) == {}


def test_a_journal_that_is_written_to_stays(look: Look, store: FileStore) -> None:
    found = look(31 * DAY)
    place = Path(store.describe().location, ".journal")
    journals = Journals(lambda: [place])
    journal = journals.begin(journal_file(KEY.digest, "c02"), "gpu", KEY.directory)
    assert journal is not None
    assert "journals" not in remove(found.found)
    assert len(list(place.iterdir())) == 1
    journal.close()


def test_what_was_used_since_stays(look: Look, store: FileStore) -> None:
    found = look(31 * DAY)
    for path in Path(store.describe().location).rglob(".binaries-*/*"):
        os.utime(path)
    assert "binaries" not in remove(found.found)


def test_binaries_that_are_kept_elsewhere(store: FileStore, tmp_path: Path) -> None:
    place = put_kept(FileStore(tmp_path / "near"), "IJKLMNOP")
    found = LeftOvers(store.describe().location, time.time() + 31 * DAY)
    found.see_near(place)
    found.see_near(tmp_path / "none")
    assert kinds(found) == {"binaries": 1}
    assert not found.found[0].is_in(store.describe().location)
    assert remove(found.found)["binaries"].files == 1
    assert list(place.iterdir()) == []


def test_other_users_have_theirs(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    found = look(31 * DAY)
    assert kinds(found) == {"folders": 1}
    assert found.others.files == 5
