"""A replica in a directory that machines share: a mount, and no server.

There are no compare-and-swaps on files. What a shared directory can do is give a free name to one
of all who ask for it, so a head is a row of files with numbers, and the last one counts::

    <namespace>/<shelf>/head/000000000041
    <namespace>/<shelf>/head/000000000042    the head
    <namespace>/<shelf>/<id>.pack

Whoever has read 42 and wants to replace it asks for 43. The last 64 numbers are kept, so that one
who was stopped in between finds its number taken. Who was stopped for longer finds that the numbers
have gone on, and does not know whether that was because of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import RecordUnreadable, StoreReadOnly, StoreUnavailable, Unreadable
from ..store.files import FileStore
from ..system.paths import may_write, nearest
from . import packs
from .base import ReplicaInfo
from .in_packs import PackReplica
from .space import Space, Swap, Versioned

_KEPT_HEADS = 64
_NUMBER = re.compile(r"[0-9]{12}")
_TRIES = 5


class FileSpace(Space):
    """Objects as files of a directory, with the guarantees of `store.files`."""

    def __init__(self, directory: str, *, bake: bool = False) -> None:
        super().__init__()
        self._files = FileStore(directory, bake=bake, most_bytes=packs.MOST_PACKED)
        self.url = self._files.describe().url

    def read(self, names: Sequence[str], *, most: int) -> list[bytes | None]:
        self._count(len(names))
        found = []
        for name in names:
            try:
                data = self._files.get(name)
            except RecordUnreadable as error:
                if error.reason is not Unreadable.NOT_A_FILE:
                    raise self._too_large_or_closed(error) from error
                data = None
            if data is not None and len(data) > most:
                raise StoreUnavailable(f"{self.url}: {name} has {len(data)} bytes", store=self.url)
            found.append(data)
            self.traffic.received += len(data or b"")
        return found

    def create(self, name: str, data: bytes) -> None:
        self._count(1)
        self.traffic.sent += len(data)
        self._files.put(name, data)

    def remove(self, names: Sequence[str]) -> None:
        self._count(len(names))
        for name in names:
            data = self._files.get(name)
            if data is not None:
                self._files.delete_if(name, data)

    def read_head(self, name: str, *, most: int) -> Versioned | None:
        for _ in range(_TRIES):
            numbers = self._numbers(name)
            if not numbers:
                return None
            data = self.read([_numbered(name, numbers[-1])], most=most)[0]
            if data is not None:
                return Versioned(data, str(numbers[-1]))
            # It was removed since it was listed: there are 64 newer ones.
        raise StoreUnavailable(f"{self.url}: {name} cannot be read", store=self.url)

    def remove_head(self, name: str) -> None:
        # The first goes last: while there is any, nobody else can have the first number.
        self.remove([_numbered(name, number) for number in reversed(self._numbers(name))])

    def swap(self, name: str, data: bytes, version: str | None) -> Swap:
        self._count(1)
        self.traffic.sent += len(data)
        number = int(version or 0) + 1
        if not self._files.put_if_absent(_numbered(name, number), data):
            return Swap.LOST
        numbers = self._numbers(name)
        behind = numbers[-1] - number if numbers else 0
        if not numbers or behind >= _KEPT_HEADS or (behind and number + 1 not in numbers):
            return Swap.UNSURE
        self.remove([_numbered(name, old) for old in numbers if old <= number - _KEPT_HEADS])
        return Swap.DONE

    def folders(self, prefix: str) -> list[str]:
        self._count(1)
        found = self._files.children(f"{prefix}/")
        return sorted(name.split("/")[-2] for name in found if name.endswith("/"))

    def try_writing(self, prefix: str) -> bool:
        # Looked at and not tried: a directory that was made would stay.
        place = Path(self._files.describe().location)
        below = [place / one for one in (prefix, *(f"{prefix}/{f}" for f in self.folders(prefix)))]
        closed = next((one for one in below if not may_write(one)), None)
        if closed is not None:
            raise StoreReadOnly(
                f"{self.url} may not be written by user {os.geteuid()}: {nearest(closed)}. If "
                "reading is all that it is for, add ?readonly=1 to the address",
                store=self.url,
            )
        return True

    def _numbers(self, name: str) -> list[int]:
        self._count(1)
        found = [child.rpartition("/")[2] for child in self._files.children(f"{name}/")]
        return sorted(int(one) for one in found if _NUMBER.fullmatch(one))

    def _too_large_or_closed(self, error: RecordUnreadable) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.url}: {error.name} cannot be read: {error.reason.value}. Look at that "
            "directory, its owner and its permissions",
            store=self.url,
        )

    def _count(self, requests: int) -> None:
        self.traffic.round_trips += requests
        self.traffic.requests += requests


def _numbered(name: str, number: int) -> str:
    return f"{name}/{number:012d}"


def in_files(directory: str, *, shown: str, namespace: str, bake: bool = False) -> PackReplica:
    """The replica in a directory, which need not exist yet. `shown` is its address."""
    space = FileSpace(directory, bake=bake)
    return PackReplica(space, ReplicaInfo(kind="files", url=shown), namespace)
