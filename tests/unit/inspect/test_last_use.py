"""When keys and profiles were used last."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.factories import NOON, make_key, make_part, put_part, put_verdict
from tuneonce.inspect.last_use import last_uses
from tuneonce.model.profiles import ProfilePart, UsedKey
from tuneonce.model.record_names import profile_part_name
from tuneonce.model.records import pack
from tuneonce.store.files import FileStore

TIMES = {64: (0.2,), 128: (0.1,)}


def naming(part: ProfilePart, verdict: str, at: float) -> ProfilePart:
    """The part, which also names a verdict that was used then."""
    used = UsedKey("kernels:add", verdict, "w", "serving", [part.starts[0].id], at)
    return msgspec.structs.replace(part, keys=[*part.keys, used])


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def test_the_last_start_that_names_a_verdict_counts(store: FileStore) -> None:
    key = make_key()
    name = put_verdict(store, key, TIMES)
    for start, at in (("s1", NOON), ("s2", NOON + 50), ("s3", NOON + 20)):
        put_part(store, naming(make_part(start=start, at=at), name, at))
    folder = profile_part_name(make_part()).rpartition("/")[0]
    uses = last_uses(store)
    assert uses.of_keys == {key.directory: NOON + 50}
    assert uses.of_profiles == {folder: NOON + 50}
    assert uses.unread == 0


def test_a_store_without_profiles(store: FileStore) -> None:
    assert last_uses(store).of_keys == {}


def test_parts_that_cannot_be_read_are_counted(store: FileStore) -> None:
    name = put_part(store, naming(make_part(), "v1/a/b/c/d", NOON))
    store.put(name.replace("s1", "s2"), b"{}")
    store.put("profiles/x~0/notes.txt", b"theirs")
    uses = last_uses(store)
    assert uses.unread == 1
    assert uses.of_keys == {"v1/a/b/c": NOON}


class Tidied(FileStore):
    """One whose profile is put together by another process when its first part is read."""

    tidied = False

    def get(self, name: str) -> bytes | None:
        if not self.tidied:
            self.tidied = True
            merged = naming(make_part(start="merged"), "v1/a/b/c/d", NOON)
            super().put(profile_part_name(merged), pack(merged))
            (Path(self.describe().location) / name).unlink()
        return super().get(name)


def test_parts_that_are_put_together_meanwhile_are_not_missed(tmp_path: Path) -> None:
    store = Tidied(tmp_path)
    put_part(store, naming(make_part(), "v1/a/b/c/d", NOON))
    assert last_uses(store).of_keys == {"v1/a/b/c": NOON}
