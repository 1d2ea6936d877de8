"""Who passes records on hears of those that were kept, once they are there, and of no others."""

from __future__ import annotations

import pytest

from tuneonce.errors import StoreReadOnly
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore
from tuneonce.store.telling import TellingStore


def test_what_is_kept_is_told_of_once_it_is_there() -> None:
    inner, told = MemoryStore(), []
    store = TellingStore(inner, lambda name: told.append((name, inner.get(name))))
    assert store.put_if_absent("a", b"1")
    assert not store.put_if_absent("a", b"2")
    store.put("a", b"3", durable=False)
    assert store.delete_if("a", b"3")
    assert told == [("a", b"1"), ("a", b"3")]


def test_what_is_not_kept_is_not_told_of() -> None:
    told: list[str] = []
    store = TellingStore(ReadOnlyStore(MemoryStore()), told.append)
    for put in (store.put, store.put_if_absent):
        with pytest.raises(StoreReadOnly):
            put("a", b"1")
    assert told == []
