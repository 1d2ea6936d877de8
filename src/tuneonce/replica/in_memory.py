"""A replica in the memory of this process: what is shared among its parts, and an honest fake."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ..errors import StoreUnavailable
from .base import ReplicaInfo
from .in_packs import PackReplica
from .space import Space, Swap, Versioned

URL = "memory:"


class Shared:
    """What several `MemorySpace` see: objects by name, and how often each was written."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.versions: dict[str, int] = {}
        self.lock = threading.Lock()


class MemorySpace(Space):
    """A dictionary that keeps the contract. Safe for threads that each have their own."""

    def __init__(self, shared: Shared | None = None) -> None:
        super().__init__()
        self.shared = Shared() if shared is None else shared

    def read(self, names: Sequence[str], *, most: int) -> list[bytes | None]:
        self._count(len(names))
        found = [self.shared.objects.get(name) for name in names]
        for name, data in zip(names, found, strict=True):
            if data is not None and len(data) > most:
                raise StoreUnavailable(f"{URL} {name} has {len(data)} bytes", store=URL)
        self.traffic.received += sum(len(data) for data in found if data is not None)
        return found

    def create(self, name: str, data: bytes) -> None:
        self._count(1)
        self.traffic.sent += len(data)
        with self.shared.lock:
            self.shared.objects[name] = data

    def remove(self, names: Sequence[str]) -> None:
        self._count(len(names))
        with self.shared.lock:
            for name in names:
                self.shared.objects.pop(name, None)

    def read_head(self, name: str, *, most: int) -> Versioned | None:
        with self.shared.lock:
            version = self.shared.versions.get(name)
            data = self.read([name], most=most)[0]
        return None if data is None else Versioned(data, str(version))

    def swap(self, name: str, data: bytes, version: str | None) -> Swap:
        self._count(1)
        self.traffic.sent += len(data)
        with self.shared.lock:
            now = self.shared.versions.get(name) if name in self.shared.objects else None
            if self.conditional and version != (None if now is None else str(now)):
                return Swap.LOST
            self.shared.objects[name] = data
            self.shared.versions[name] = self.shared.versions.get(name, 0) + 1
        return Swap.DONE

    def folders(self, prefix: str) -> list[str]:
        self._count(1)
        start = f"{prefix}/"
        below = [name[len(start) :] for name in self.shared.objects if name.startswith(start)]
        return sorted({name.partition("/")[0] for name in below if "/" in name})

    def _count(self, requests: int) -> None:
        self.traffic.round_trips += 1
        self.traffic.requests += requests


def in_memory(shared: Shared | None = None, *, namespace: str = "tuneonce") -> PackReplica:
    """A replica of this process, which sees what others of the same `shared` see."""
    return PackReplica(MemorySpace(shared), ReplicaInfo(kind="memory", url=URL), namespace)
