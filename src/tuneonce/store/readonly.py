"""A store that may be read and not written: an image's baked cache, a fleet's golden copy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NoReturn

from ..errors import StoreReadOnly
from .base import Store, StoreInfo, check_data, check_name


class ReadOnlyStore(Store):
    """``inner``, less everything that changes it."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def get(self, name: str) -> bytes | None:
        return self._inner.get(name)

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        check_name(name)
        check_data(data)
        self._refuse(name)

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        check_name(name)
        check_data(data)
        self._refuse(name)

    def delete_if(self, name: str, expected: bytes) -> bool:
        check_name(name)
        self._refuse(name)

    def list(self, prefix: str) -> Iterator[str]:
        return self._inner.list(prefix)

    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        return self._inner.children(prefix, limit=limit)

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        check_name(name)
        return False

    def describe(self) -> StoreInfo:
        info = self._inner.describe()
        mark = "&" if "?" in info.url else "?"
        return dataclasses.replace(info, writable=False, url=f"{info.url}{mark}readonly=1")

    def close(self) -> None:
        self._inner.close()

    def _refuse(self, name: str) -> NoReturn:
        url = self.describe().url
        raise StoreReadOnly(
            f"{url} was opened read-only, so {name} is not written. "
            "Drop readonly=1 from TUNEONCE_STORE if results should be kept there.",
            store=url,
        )
