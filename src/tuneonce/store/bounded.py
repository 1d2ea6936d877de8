"""A store that answers in time or is left alone: one on a dead network mount may never answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..errors import StoreUnavailable
from ..system.threads import BoundedCalls, Overdue
from .base import Store, StoreInfo

T = TypeVar("T")

# Arbitrary: far stores answer in 5 to 50 ms, and a record takes some ten calls of the system; a
# disk that has much to write may let one wait for seconds until it is safe.
READ_S, WRITE_S = 3.0, 10.0
# Reading a record of a disk takes 0.05 ms, and of a network about eight times its delay. Arbitrary.
FAR_S = 0.02


class BoundedStore(Store):
    """``inner``, each call of which comes to an end within `read_s` or `write_s` seconds.

    After a call that did not, all calls raise StoreUnavailable at once, in this process. What that
    call was to write may still be written. `url` is the store's address without credentials, for
    messages: asking the store for it might wait, too.
    """

    def __init__(
        self, inner: Store, url: str, *, read_s: float = READ_S, write_s: float = WRITE_S
    ) -> None:
        self._inner, self._url = inner, url
        self._read_s, self._write_s = read_s, write_s
        self._calls = BoundedCalls()
        self._silent: str | None = None
        self._quickest_s = math.inf

    @property
    def is_silent(self) -> bool:
        """Whether it once did not answer in time, and is not asked any more."""
        return self._silent is not None

    @property
    def is_far(self) -> bool:
        """Whether none of its calls so far has returned as fast as a disk's."""
        return FAR_S < self._quickest_s < math.inf

    def get(self, name: str) -> bytes | None:
        return self._within(self._read_s, lambda: self._inner.get(name))

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._within(self._write_s, lambda: self._inner.put(name, data, durable=durable))

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        return self._within(
            self._write_s, lambda: self._inner.put_if_absent(name, data, durable=durable)
        )

    def delete_if(self, name: str, expected: bytes) -> bool:
        return self._within(self._write_s, lambda: self._inner.delete_if(name, expected))

    def list(self, prefix: str) -> Iterator[str]:
        # All names at once: the time between two of them could not be bounded.
        return iter(self._within(self._read_s, lambda: [*self._inner.list(prefix)]))

    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        return self._within(self._read_s, lambda: self._inner.children(prefix, limit=limit))

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        return self._within(self._write_s, lambda: self._inner.set_aside(name, seen=seen))

    def describe(self) -> StoreInfo:
        return self._inner.describe()

    def close(self) -> None:
        self._inner.close()

    def _within(self, seconds: float, call: Callable[[], T]) -> T:
        if self._silent is None:
            began = time.monotonic()
            try:
                return self._calls(call, seconds)
            except Overdue as error:
                self._silent = f"{error}; it is not asked again by this process"
            finally:
                self._quickest_s = min(self._quickest_s, time.monotonic() - began)
        raise StoreUnavailable(f"{self._url}: {self._silent}", store=self._url)
