"""What can go wrong, as one tree.

    TuneonceError
    ├── UsageError              a command was given wrong arguments (one line, exit code 2)
    ├── SettingsError           a variable, option or store address cannot mean anything
    ├── KeyNotTuned             a launch's key has no verdict, and the policy is to raise
    └── StoreError              the store did not do what was asked
        ├── StoreUnavailable    down: network, I/O error, not a directory, not mounted
        │   └── StoreFull       no space or no quota left; records can still be read
        ├── StoreReadOnly       refuses to be written; records can still be read
        └── RecordUnreadable    one name holds something that must not or cannot be read

Exceptions of the operating system and of client libraries are translated into this tree once, at
the edge of the store that met them, and stay reachable as ``__cause__``. "There is no such
record" is an answer, not an error.

Every exception here survives pickling, so it can cross from a worker process unchanged.
"""

from __future__ import annotations

import enum


class TuneonceError(Exception):
    """Base of everything that this package raises on purpose."""


class UsageError(TuneonceError):
    """A command line that cannot be carried out. The message is one line for its author."""


class SettingsError(TuneonceError):
    """A setting that cannot mean anything. The message names the setting and what is allowed."""


class KeyNotTuned(TuneonceError, RuntimeError):
    """A launch met a key that has no verdict, and the policy for misses is ``error``.

    `kernel` is ``module:name``, `key` the values that it is tuned by as people write them, `phase`
    ``starting`` or ``serving``. `nearest` is the key of the nearest record, None where the store
    has none that is of use, and `differences` are the parts in which that one differs.
    """

    def __init__(
        self,
        message: str,
        *,
        kernel: str = "",
        key: str = "",
        phase: str = "",
        nearest: str | None = None,
        differences: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.kernel = kernel
        self.key = key
        self.phase = phase
        self.nearest = nearest
        self.differences = differences


class StoreError(TuneonceError):
    """A store did not do what was asked.

    ``store`` is the store's address without credentials, ``""`` where it is not known.
    """

    def __init__(self, message: str, *, store: str = "") -> None:
        super().__init__(message)
        self.store = store


class StoreUnavailable(StoreError):
    """The store cannot be reached or does not work. Trying again later may help."""


class StoreFull(StoreUnavailable):
    """No space or quota is left for a new record. Reading still works."""


class StoreReadOnly(StoreError):
    """The store may not be written by this process. Reading still works."""


class Unreadable(str, enum.Enum):
    """Why the thing under a record's name is not read."""

    TOO_LARGE = "too large"
    """Larger than any record may be; it was not read at all."""
    NOT_A_FILE = "not a regular file"
    """A directory, link, pipe, socket or device, or a file where a folder belongs."""
    OWNER = "wrong owner"
    """Belongs to a user whose records this process does not trust."""
    PERMISSION = "no permission"
    """The operating system lets this process see it but not read it."""

    __str__ = str.__str__

    @property
    def in_the_way(self) -> bool:
        """Whether no process can use it, and it is moved out of the way. What is unreadable for
        another reason may be of use to the user who put it there."""
        return self in (Unreadable.TOO_LARGE, Unreadable.NOT_A_FILE)


class RecordUnreadable(StoreError):
    """``name`` holds something, and it cannot be used: treat it as a miss."""

    def __init__(self, name: str, reason: Unreadable, *, store: str = "", detail: str = "") -> None:
        super().__init__(name, store=store)
        self.args = (name, reason)
        self.name = name
        self.reason = reason
        self.detail = detail

    @property
    def in_the_way(self) -> bool:
        """Whether what has the name should be set aside."""
        return self.reason.in_the_way

    def __str__(self) -> str:
        where = f" in {self.store}" if self.store else ""
        detail = f" ({self.detail})" if self.detail else ""
        return (
            f"record {self.name}{where} cannot be read: {self.reason.value}{detail}. "
            "It counts as a miss. `tuneonce verify` lists such records."
        )
