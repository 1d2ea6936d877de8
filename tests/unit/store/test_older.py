"""A store that has moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneonce.errors import StoreUnavailable
from tuneonce.store import open_store, open_with_older
from tuneonce.store.memory import MemoryStore
from tuneonce.store.older import StoreWithOlder

NAME = "k/w/d/verdict"


@pytest.fixture
def older() -> MemoryStore:
    store = MemoryStore()
    store.put(NAME, b"older")
    store.put("k/w/e/verdict", b"only there")
    return store


def test_what_is_in_the_older_place_is_read(older: MemoryStore) -> None:
    inner = MemoryStore()
    inner.put("k/w/f/verdict", b"new")
    store = StoreWithOlder(inner, older)
    assert store.get(NAME) == b"older"
    assert sorted(store.list("")) == [NAME, "k/w/e/verdict", "k/w/f/verdict"]
    assert sorted(store.children("k/w/")) == ["k/w/d/", "k/w/e/", "k/w/f/"]
    assert len(store.children("k/w/", limit=2)) == 2


def test_what_is_new_goes_first_and_nothing_is_put_there(older: MemoryStore) -> None:
    inner = MemoryStore()
    store = StoreWithOlder(inner, older)
    assert store.put_if_absent(NAME, b"new")
    assert store.get(NAME) == inner.get(NAME) == b"new"
    assert older.get(NAME) == b"older"
    assert list(store.list("k/w/d/")) == [NAME]
    assert store.set_aside(NAME)
    assert store.get(NAME) == b"older"


def test_what_is_removed_does_not_come_up_again(older: MemoryStore) -> None:
    inner = MemoryStore()
    store = StoreWithOlder(inner, older)
    assert not store.delete_if(NAME, b"another")
    assert store.delete_if(NAME, b"older")
    assert store.get(NAME) is None
    inner.put("k/w/e/verdict", b"only there")
    assert store.delete_if("k/w/e/verdict", b"only there")
    assert list(store.list("")) == []


def test_an_older_place_that_fails_has_nothing() -> None:
    class Dead(MemoryStore):
        def get(self, name: str) -> bytes | None:
            raise StoreUnavailable("gone", store="x")

        def children(self, prefix: str, *, limit: int | None = None) -> list[str]:
            raise StoreUnavailable("gone", store="x")

        list = children  # type: ignore[assignment]

        def delete_if(self, name: str, expected: bytes) -> bool:
            raise StoreUnavailable("gone", store="x")

    inner = MemoryStore()
    inner.put(NAME, b"new")
    store = StoreWithOlder(inner, Dead())
    assert store.get("k/w/e/verdict") is None
    assert list(store.list("")) == [NAME]
    assert store.children("") == ["k/"]
    assert store.delete_if(NAME, b"new")


def test_only_an_older_place_that_is_there_is_looked_at(tmp_path: Path) -> None:
    address = str(tmp_path / "new")
    assert type(open_with_older(address, None)) is type(open_store(address))
    assert type(open_with_older(address, str(tmp_path / "older"))) is type(open_store(address))
    (tmp_path / "older").mkdir()
    assert type(open_with_older(address, str(tmp_path / "older"))) is StoreWithOlder
