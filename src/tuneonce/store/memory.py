"""Records in this process: what remains when no other store works, and a fake that is honest."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence

from ..addresses import MEMORY
from .base import MAX_SET_ASIDE, Store, StoreInfo, check_data, check_name, check_prefix


class MemoryStore(Store):
    """A dictionary that keeps the contract. A forked child goes on with a copy of its own."""

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}
        self._set_aside: deque[tuple[str, bytes]] = deque(maxlen=MAX_SET_ASIDE)
        self._lock = threading.Lock()
        _instances.add(self)

    def get(self, name: str) -> bytes | None:
        return self._records.get(check_name(name))

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        check_name(name)
        check_data(data)
        with self._lock:
            self._records[name] = data

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        check_name(name)
        check_data(data)
        with self._lock:
            if name in self._records:
                return False
            self._records[name] = data
            return True

    def delete_if(self, name: str, expected: bytes) -> bool:
        check_name(name)
        with self._lock:
            if self._records.get(name) != expected:
                return False
            del self._records[name]
            return True

    def list(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        with self._lock:
            names = [name for name in self._records if name.startswith(prefix)]
        return iter(names)

    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        start = len(check_prefix(prefix))
        found: dict[str, None] = {}
        with self._lock:
            for name in self._records:
                if limit is not None and len(found) >= limit:
                    break
                if name.startswith(prefix):
                    part, more, _ = name[start:].partition("/")
                    found[prefix + part + more] = None
        return [*found]

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        check_name(name)
        with self._lock:
            data = self._records.get(name)
            if data is None or (seen is not None and data != seen):
                return False
            del self._records[name]
            self._set_aside.append((name, data))
            return True

    def describe(self) -> StoreInfo:
        return StoreInfo(
            kind="memory",
            url=f"{MEMORY}:",
            writable=True,
            location=f"the memory of process {os.getpid()}",
            note="ends with the process and is shared with no other",
        )


# A lock that another thread held while this process was forked stays locked in the child for ever.
# Every step under it is a single change of a dictionary, so the child needs only a new lock.
_instances: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _renew_locks() -> None:
    for store in _instances:
        store._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)
