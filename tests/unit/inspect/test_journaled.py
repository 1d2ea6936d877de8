"""What journals hold, seen as the records of a store."""

from __future__ import annotations

from pathlib import Path

from tests.factories import leave_in_journal, make_key
from tests.fakes import candidate, measurements_left
from tuneonce.inspect.journaled import JournalStore
from tuneonce.model.records import Measurement, unpack
from tuneonce.resolution.journal import Journals


def stored(folder: Path) -> JournalStore:
    return JournalStore(Journals(lambda: [folder]))


def test_each_measurement_is_a_record_in_its_place(tmp_path: Path) -> None:
    one, other = make_key("add"), make_key("mul")
    leave_in_journal(tmp_path, one, 64, 0.2)
    leave_in_journal(tmp_path, other, 128, 0.1)
    store = stored(tmp_path)
    expected = {
        f"{key.directory}/c02.{candidate(block).digest}.measured.json": time
        for key, block, time in ((one, 64, 0.2), (other, 128, 0.1))
    }
    assert set(store.list("")) == set(expected)
    for name, time in expected.items():
        data = store.get(name)
        assert data is not None
        assert unpack(data, Measurement).times == (time,)


def test_what_is_removed_here_is_removed_there(tmp_path: Path) -> None:
    key = make_key()
    for block in (64, 128):
        leave_in_journal(tmp_path, key, block, 0.2)
    store = stored(tmp_path)
    gone = next(name for name in store.list("") if candidate(64).digest in name)
    data = store.get(gone)
    assert data is not None
    assert not store.delete_if(gone, b"something else")
    assert store.delete_if(gone, data)
    assert not store.delete_if(gone, data)
    assert [one.candidate for one in measurements_left(tmp_path)] == [candidate(128).digest]


def test_where_there_are_no_journals(tmp_path: Path) -> None:
    assert list(stored(tmp_path / "none").list("")) == []
