"""A store that has moved: what was kept in its older place is still read, and nothing put there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import StoreError
from .base import Store, StoreInfo


class StoreWithOlder(Store):
    """``inner``, and behind it ``older``: a record is the one of ``inner`` if both have it.

    An older place that fails is one that has nothing.
    """

    def __init__(self, inner: Store, older: Store) -> None:
        self._inner, self._older = inner, older

    def get(self, name: str) -> bytes | None:
        data = self._inner.get(name)
        return self._in_older(name) if data is None else data

    def _in_older(self, name: str) -> bytes | None:
        try:
            return self._older.get(name)
        except StoreError:
            return None

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._inner.put(name, data, durable=durable)

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        return self._inner.put_if_absent(name, data, durable=durable)

    def delete_if(self, name: str, expected: bytes) -> bool:
        # In the older place, too: it must not come up again.
        removed = self._inner.delete_if(name, expected)
        try:
            return self._older.delete_if(name, expected) or removed
        except StoreError:
            return removed

    def list(self, prefix: str) -> Iterator[str]:
        return self._both(self._inner.list(prefix), prefix)

    def _both(self, names: Iterator[str], prefix: str) -> Iterator[str]:
        seen = set()
        for name in names:
            seen.add(name)
            yield name
        try:
            more = [name for name in self._older.list(prefix) if name not in seen]
        except StoreError:
            return
        yield from more

    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        found = self._inner.children(prefix, limit=limit)
        try:
            older = self._older.children(prefix, limit=limit)
        except StoreError:
            return found
        return [*dict.fromkeys((*found, *older))][:limit]

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        return self._inner.set_aside(name, seen=seen)

    def describe(self) -> StoreInfo:
        return self._inner.describe()

    def close(self) -> None:
        self._inner.close()
        self._older.close()
