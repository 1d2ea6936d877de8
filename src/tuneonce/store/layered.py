"""A store over another one: what is in the lower one is read as if it were in the upper one.

The lower one is a *base* that an image brings, a directory that the store would have been before,
or what journals hold. A record is the one of the upper store if both have it. What is written goes
to the upper one, and so does what is set aside.

**What the lower one has was there first.** ``put_if_absent`` says so and stores nothing. Not where
the caller has found that it cannot be used (``set_aside``), or has removed it (``delete_if``).

**What is removed is removed below, too**, where that can be. Where it cannot, the lower record is
hidden from this process: it does not come up again when the upper one is removed. In other
processes it does, until there is a new one in the upper store, which goes first everywhere. So of
all processes that remove a record of a base each is told that it did; what they put in its place
is one record.

**A lower store that fails has nothing.** That is told once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..errors import RecordUnreadable, StoreError
from .base import Store, StoreInfo, check_data

T = TypeVar("T")


def _nobody(error: StoreError) -> None:
    pass


class LayeredStore(Store):
    """``upper`` over ``lower``.

    `tell` is called with the first error of the lower one. `base` is its directory, if people know
    it as the base of the upper one.
    """

    def __init__(
        self,
        upper: Store,
        lower: Store,
        *,
        base: str = "",
        tell: Callable[[StoreError], None] = _nobody,
    ) -> None:
        self._upper, self._lower = upper, lower
        self.base = base
        self._tell: Callable[[StoreError], None] | None = tell
        # Names of the lower store that this process has removed, or could not use.
        self._hidden: dict[str, object] = {}
        self._unusable: set[str] = set()

    @property
    def is_silent(self) -> bool:
        """Whether the upper store is not asked any more (`bounded`)."""
        return getattr(self._upper, "is_silent", False)

    @property
    def is_far(self) -> bool:
        """Whether the upper store is far away (`bounded`)."""
        return getattr(self._upper, "is_far", False)

    def is_lower(self, name: str) -> bool:
        """Whether what is read under this name is the lower store's. Raises like ``get``."""
        try:
            if self._upper.get(name) is not None:
                return False
        except RecordUnreadable:
            return False
        try:
            return self._below(name) is not None
        except RecordUnreadable:
            return True

    # -- reading -----------------------------------------------------------------------------

    def get(self, name: str) -> bytes | None:
        data = self._upper.get(name)
        return self._below(name) if data is None else data

    def _below(self, name: str) -> bytes | None:
        """The lower store's record. Raises RecordUnreadable, and nothing else."""
        if name in self._hidden:
            return None
        return self._ask(lambda: self._lower.get(name), None)

    def _ask(self, call: Callable[[], T], otherwise: T) -> T:
        """What the lower store says; `otherwise` where it fails. Raises RecordUnreadable."""
        try:
            return call()
        except RecordUnreadable:
            raise
        except StoreError as error:
            self._failed(error)
            return otherwise

    def _failed(self, error: StoreError) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(error)

    def list(self, prefix: str) -> Iterator[str]:
        return self._both(self._upper.list(prefix), prefix)

    def _both(self, names: Iterator[str], prefix: str) -> Iterator[str]:
        seen = set()
        for name in names:
            seen.add(name)
            yield name
        try:
            more = [name for name in self._lower.list(prefix) if name not in seen]
        except StoreError as error:  # a closed folder, too: where names are told none is missed
            self._failed(error)
            return
        yield from (name for name in more if name not in self._hidden)

    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        found = self._upper.children(prefix, limit=limit)
        try:
            lower = self._lower.children(prefix, limit=limit)
        except StoreError as error:
            self._failed(error)
            return found
        below = (name for name in lower if name not in self._hidden)
        return [*dict.fromkeys((*found, *below))][:limit]

    # -- writing -----------------------------------------------------------------------------

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._upper.put(name, data, durable=durable)

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        if self._is_first(name):
            check_data(data)
            return False
        return self._upper.put_if_absent(name, data, durable=durable)

    def _is_first(self, name: str) -> bool:
        """Whether the lower store has a record of this name that can be used."""
        if name in self._unusable:
            return False
        try:
            return self._below(name) is not None
        except RecordUnreadable:
            return False

    def delete_if(self, name: str, expected: bytes) -> bool:
        if self._upper.delete_if(name, expected):
            # Whatever is below: it must not come up again.
            self._delete_below(name, expected)
            self._hidden[name] = True
            return True
        if self._upper.get(name) is not None or self._below(name) != expected:
            return False
        return self._delete_below(name, expected)

    def _delete_below(self, name: str, expected: bytes) -> bool:
        try:
            return self._lower.delete_if(name, expected)
        except StoreError:  # it may only be read; of the threads that hide it one is told so
            ours = object()
            return self._hidden.setdefault(name, ours) is ours

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        if self._upper.set_aside(name, seen=seen):
            return True
        # What is below stays where it is, and is not what was there first any more.
        self._unusable.add(name)
        return False

    # -- telling -----------------------------------------------------------------------------

    def describe(self) -> StoreInfo:
        return dataclasses.replace(self._upper.describe(), base=self.base)

    def close(self) -> None:
        self._upper.close()
        self._lower.close()


def is_of_base(store: Store) -> Callable[[str], bool]:
    """Asks by name whether a record that is read from a store lies in a base under it."""
    if isinstance(store, LayeredStore) and store.base:
        return store.is_lower
    return lambda name: False
