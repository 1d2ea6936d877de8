"""What the file store promises beyond the contract: few system calls, durability, the race."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tuneonce.errors import RecordUnreadable
from tuneonce.store import Store, _atomic, open_store
from tuneonce.store.files import FileStore

NAME = "kernel/world/key/verdict.json"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


class Calls:
    """Counts system calls, and remembers the paths of the files that were synced."""

    def __init__(self, patch: pytest.MonkeyPatch, *names: str) -> None:
        self.count: Counter[str] = Counter()
        self.synced: list[str] = []
        for name in names:
            patch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, real):  # type: ignore[no-untyped-def]
        def call(*args, **options):  # type: ignore[no-untyped-def]
            self.count[name] += 1
            if name == "fsync":
                self.synced.append(str(Path(f"/proc/self/fd/{args[0]}").readlink()))
            return real(*args, **options)

        return call


def test_a_read_is_one_open_for_each_part_one_look_one_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(NAME, b"data" * 10_000)
    calls = Calls(monkeypatch, "open", "fstat", "stat", "lstat", "read", "scandir", "listdir")
    assert store.get(NAME) == b"data" * 10_000
    assert calls.count == {"open": 5, "fstat": 1, "read": 1}
    calls.count.clear()
    assert store.get("kernel/world/key/absent.json") is None
    assert calls.count == {"open": 5}
    calls.count.clear()
    assert store.get("other/world/key/absent.json") is None
    assert calls.count == {"open": 2}


def test_a_read_in_pieces_is_put_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(NAME, b"0123456789")
    real = os.read
    monkeypatch.setattr(os, "read", lambda fd, count: real(fd, min(count, 3)))
    assert store.get(NAME) == b"0123456789"
    # A file that somebody cuts while it is read ends the read; what came is handed on as it is.
    monkeypatch.setattr(os, "read", lambda fd, count: real(fd, 3) if count == 10 else b"")
    assert store.get(NAME) == b"012"


def test_a_loser_writes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(NAME, b"data")
    calls = Calls(monkeypatch, "write", "fsync", "link")
    monkeypatch.setattr(_atomic, "write_temp", None)
    assert not store.put_if_absent(NAME, b"late")
    assert calls.count == {}


def test_a_write_in_pieces_is_put_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
    store.put(NAME, b"0123456789" * 5)
    assert store.get(NAME) == b"0123456789" * 5


def test_listing_a_deep_prefix_opens_one_folder(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kernel in "abc":
        for key in "xyz":
            store.put(f"{kernel}/world/{key}/1.json", b"", durable=False)
    calls = Calls(monkeypatch, "scandir")
    assert list(store.list("b/world/y/")) == ["b/world/y/1.json"]
    assert calls.count == {"scandir": 1}
    assert len(list(store.list("b/"))) == 3
    assert calls.count == {"scandir": 6}


def test_a_durable_put_syncs_the_file_and_every_name_that_leads_to_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By another process, which did not sync the folders that it made.
    open_store(tmp_path / "store").put("kernel/world/key/other.json", b"", durable=False)
    for write, name in ((store.put, NAME), (store.put_if_absent, NAME + "2")):
        with monkeypatch.context() as patch:
            calls = Calls(patch, "fsync")
            write(name, b"data")
        temp, *folders = calls.synced
        assert ".tmp-" in temp
        root = tmp_path / "store"
        assert folders == [
            str(path)
            for path in (root / "kernel/world/key", root / "kernel/world", root / "kernel", root)
        ] + [str(tmp_path)]


def test_a_put_that_need_not_be_durable_syncs_nothing_inside_the_root(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    calls = Calls(monkeypatch, "fsync")
    store.put(NAME, b"data", durable=False)
    store.put_if_absent("k/w/new", b"data", durable=False)
    assert calls.synced == []


def test_files_are_closed(store: Store) -> None:
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for number in range(20):
        store.put(f"k/w/{number}", b"data")
        store.put_if_absent(f"k/w/{number}", b"data")
        store.get(f"k/w/{number}")
        store.delete_if(f"k/w/{number}", b"data")
        next(store.list("k/"), None)
    assert len(list(descriptors.iterdir())) == before


# -- compare and delete: what happens if another process writes in between -------------------------


def between(monkeypatch: pytest.MonkeyPatch, call: str, work) -> None:  # type: ignore[no-untyped-def]
    """Run ``work`` just before the next ``os.<call>``."""
    real = getattr(os, call)

    def wrapper(*args, **options):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(os, call, real)
        work()
        return real(*args, **options)

    monkeypatch.setattr(os, call, wrapper)


@pytest.mark.parametrize("operation", ["delete_if", "set_aside"])
def test_a_record_that_was_replaced_since_it_was_compared_is_put_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    other = open_store(tmp_path / "store")
    store.put(NAME, b"old")
    between(monkeypatch, "rename", lambda: other.put(NAME, b"replaced"))
    if operation == "delete_if":
        assert not store.delete_if(NAME, b"old")
    else:
        assert not store.set_aside(NAME, seen=b"old")
    assert store.get(NAME) == b"replaced"
    assert list(store.list("")) == [NAME]
    assert [path.name for path in (tmp_path / NAME).parent.glob(".*")] == []


def test_whoever_stores_while_a_replaced_record_is_away_wins(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store(tmp_path / "store")
    store.put(NAME, b"old")
    between(monkeypatch, "rename", lambda: other.put(NAME, b"replaced"))

    def third() -> None:
        assert other.get(NAME) is None
        assert other.put_if_absent(NAME, b"third")

    between(monkeypatch, "lstat", third)
    assert not store.delete_if(NAME, b"old")
    assert store.get(NAME) == b"third"
    assert list(store.list("")) == [NAME]


def test_a_record_that_disappears_since_it_was_compared_was_not_deleted_by_us(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store(tmp_path / "store")
    store.put(NAME, b"old")
    between(monkeypatch, "rename", lambda: other.delete_if(NAME, b"old"))
    assert not store.delete_if(NAME, b"old")
    assert store.get(NAME) is None


def test_a_limited_question_looks_at_no_more_than_it_must(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        store.put(f"k/{number}/r", b"", durable=False)
    monkeypatch.setattr(_atomic, "MAX_LOOKED_AT", 10)
    assert len(store.children("k/", limit=5)) == 5
    assert len(store.children("k/", limit=30)) == 30
    assert len(store.children("k/", limit=100)) == len(store.children("k/")) == 50
    (tmp_path / "store/k/0/r").unlink()
    for number in range(50):
        (tmp_path / f"store/k/0/.{number}").touch()
    assert store.children("k/0/", limit=5) == []


def test_sweeping_remembers_a_bounded_number_of_folders(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[int] = []
    monkeypatch.setattr(_atomic, "sweep", lambda at, entries, now: swept.append(at))
    for number in (1, 2, 1, 2):
        store.put(f"k/{number}/r", b"", durable=False)
    assert swept == [], "nobody was killed in a folder that was just made"
    another = FileStore(tmp_path / "store")
    for number in (1, 2, 1, 2):
        another.put(f"k/{number}/r", b"", durable=False)
    assert len(swept) == 2


def test_another_limit_holds_for_reading_and_writing(tmp_path: Path) -> None:
    small, large = FileStore(tmp_path, most_bytes=10), FileStore(tmp_path, most_bytes=4 << 20)
    large.put(NAME, bytes(3 << 20), durable=False)
    assert large.get(NAME) == bytes(3 << 20)
    with pytest.raises(RecordUnreadable, match="too large"):
        small.get(NAME)
    for put in (small.put, small.put_if_absent):
        with pytest.raises(ValueError, match="at most 10"):
            put(NAME, bytes(11))
