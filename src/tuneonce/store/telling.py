"""A store that tells which records it has kept, for who passes them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .base import Store, StoreInfo


class TellingStore(Store):
    """``inner``; `kept(name)` hears of each record once it is there. It raises nothing."""

    def __init__(self, inner: Store, kept: Callable[[str], None]) -> None:
        self._inner, self._kept = inner, kept

    def get(self, name: str) -> bytes | None:
        return self._inner.get(name)

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._inner.put(name, data, durable=durable)
        self._kept(name)

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        is_ours = self._inner.put_if_absent(name, data, durable=durable)
        if is_ours:
            self._kept(name)
        return is_ours

    def delete_if(self, name: str, expected: bytes) -> bool:
        return self._inner.delete_if(name, expected)

    def list(self, prefix: str) -> Iterator[str]:
        return self._inner.list(prefix)

    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        return self._inner.children(prefix, limit=limit)

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        return self._inner.set_aside(name, seen=seen)

    def describe(self) -> StoreInfo:
        return self._inner.describe()

    def close(self) -> None:
        self._inner.close()
