"""Reading and writing records for a launch, which a bad store must not stop: nothing here raises.

A store that fails is reported once, and the process goes on without it. A record that cannot be
used is counted and treated as absent. It is set aside, unless another user or another version may
have a use for it. How much one question reads is bounded, whatever is in the store.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RecordUnreadable, StoreError
from ..events.log import EventLog
from ..model.profiles import ProfilePart
from ..model.record_names import unpack_named
from ..model.records import BadRecord, R, Record, pack
from ..store.base import Store
from ..store.layered import is_of_base

logger = logging.getLogger("tuneonce")


@dataclass
class Budget:
    """How many bytes of records one question may still read, and until when (``time.monotonic``).

    The last record may go beyond. The default is arbitrary: a hundred verdicts over a hundred
    candidates each, twenty times what is common.
    """

    left: int = 4 * 1024 * 1024
    until: float = math.inf

    @classmethod
    def of_seconds(cls, seconds: float) -> Budget:
        """A budget that ends after so many seconds: a store may be far away."""
        return cls(until=time.monotonic() + seconds)

    @property
    def is_spent(self) -> bool:
        return self.left <= 0 or time.monotonic() > self.until


class Access:
    """A store whose failures are reported and never raised. Thread-safe."""

    def __init__(self, store: Store, events: EventLog) -> None:
        self.store = store
        self._events = events
        self._warned: set[str] = set()

    def read(self, name: str, kind: type[R], budget: Budget | None = None) -> R | None:
        """The record; None if it is not there or cannot be used, or the budget is spent."""
        if budget is not None and budget.is_spent:
            return None
        data: bytes | None = None
        try:
            data = self.store.get(name)
            if data is None:
                return None
            if budget is not None:
                budget.left -= len(data)
            return unpack_named(name, data, kind)
        except RecordUnreadable as error:
            self._not_used(name, error, None)
        except BadRecord as error:
            self._not_used(name, error, data)
        except StoreError as error:
            self.failed(error)
        return None

    def children(self, prefix: str, limit: int, budget: Budget | None = None) -> Sequence[str]:
        """A level of names, at most `limit`; none where the budget is spent."""
        if budget is not None and budget.is_spent:
            return []
        try:
            return self.store.children(prefix, limit=limit)
        except RecordUnreadable as error:  # another user's folder
            self._not_used(prefix, error, None)
            return []
        except StoreError as error:
            self.failed(error)
            return []

    def put(
        self,
        name: str,
        record: Record,
        *,
        only_if_absent: bool = False,
        durable: bool = True,
    ) -> bool | None:
        """True: stored. False: another was there first. None: it could not be stored."""
        try:
            data = pack(record)
        except ValueError as error:
            self._problem("not_storable", f"{name}: {error}")
            return None
        # Twice: a directory or the like may have the name, and is set aside at the first try.
        for _ in range(2):
            try:
                if only_if_absent:
                    return self.store.put_if_absent(name, data, durable=durable)
                self.store.put(name, data, durable=durable)
                return True
            except RecordUnreadable as error:
                self._not_used(name, error, None)
            except StoreError as error:
                self.failed(error)
                return None
            except ValueError as error:
                self._problem("not_storable", f"{name}: {error}")
                return None
        return None

    def remove(self, name: str, *, only: ProfilePart | None = None) -> bool:
        """Remove a record that is not needed any more. False: the store cannot remove it.

        `only`: if it is still this one. One that was written anew since stays.
        """
        try:
            data = self.store.get(name)
            if data is None or (only is not None and unpack_named(name, data, ProfilePart) != only):
                return True
            self.store.delete_if(name, data)
        except (RecordUnreadable, BadRecord, StoreError):
            return False
        return True

    def is_of_base(self, name: str) -> bool:
        """Whether a record lies in a base under the store (`store.layered`), and stays there."""
        try:
            return is_of_base(self.store)(name)
        except StoreError:
            return False

    def failed(self, error: StoreError) -> None:
        """Report that the store does not work, once for each kind of failure."""
        kind = type(error).__name__
        if kind not in self._warned:
            self._warned.add(kind)
            self._problem("store_failed", f"{kind}: {error}")
            logger.warning("tuneonce: %s; going on without it, in this process only", error)

    def _not_used(self, name: str, error: RecordUnreadable | BadRecord, seen: bytes | None) -> None:
        reason = str(error.reason)
        if error.in_the_way:
            self._set_aside(name, reason, seen)
            return
        if isinstance(error, RecordUnreadable) and error.detail:
            reason = f"{reason}, {error.detail}"
        self._left(name, reason, "it may be of use to others")

    def _set_aside(self, name: str, reason: str, seen: bytes | None) -> None:
        try:
            moved = self.store.set_aside(name, seen=seen)
            left = None if moved or not self._still_there(name, seen) else "it may not be moved"
        except StoreError as error:
            moved, left = False, str(error)
        # The process that moves the record counts it, so that it is counted once in a fleet; a
        # record that stays is counted once by each process that meets it.
        if moved:
            self._problem("record_unreadable", f"{name}: {reason}")
            logger.warning("tuneonce: set aside an unreadable record (%s): %s", reason, name)
        elif left is not None:
            self._left(name, reason, left)

    def _left(self, name: str, reason: str, why: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            self._problem("record_unreadable", f"{name}: {reason} (left in place: {why})")

    def _still_there(self, name: str, seen: bytes | None) -> bool:
        """Whether the record that could not be used is still there. Raises StoreError."""
        try:
            data = self.store.get(name)
        except RecordUnreadable:
            return seen is None
        return data is not None and data == seen

    def _problem(self, what: str, detail: str) -> None:
        self._events.emit("problem", what=what, detail=detail)
