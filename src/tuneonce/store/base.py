"""What every store promises: bytes under names, and nothing about what they mean.

A record is written whole and never changed in place, so a reader gets one complete version of it or
nothing. The operations are those which a directory, Redis and an object store can
all do atomically: ``put_if_absent`` is a link to a free name, ``SET NX`` or ``If-None-Match: *``,
and ``delete_if`` a rename, a script or a conditional delete.

Names are relative, ``/``-separated paths of ASCII parts. Three rules that a store cannot check for
its callers:

* a name is either a record or a folder of others, never both (``a/b`` rules out ``a/b/c``);
* names that differ only in case may be one record, because some file systems fold case;
* a name must not tell a secret: names are listed, logged and put into error messages.
"""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Iterator, Sequence

MAX_RECORD_BYTES = 1024 * 1024
"""No record is larger. Arbitrary: a verdict over a hundred candidates has 30 KB, and a huge file
under a record's name must not fill a process's memory."""

MAX_SET_ASIDE = 64
"""How many unusable records a store keeps for a person to look at. Arbitrary."""

MAX_NAME_PARTS = 8
MAX_PART_CHARS = 200  # what file systems allow (255 bytes), less room for a store's own marks

_PART = rf"[A-Za-z0-9_=~+@-][A-Za-z0-9_.=~+@-]{{0,{MAX_PART_CHARS - 1}}}"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,{MAX_NAME_PARTS - 1}}}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What a store says about itself, for people and logs. Asking for it never raises."""

    kind: str
    """``files``, ``memory``, ..."""
    url: str
    """An address that ``open_store`` takes, without credentials."""
    writable: bool
    """Whether a put is expected to work. A guess: only a put knows."""
    location: str
    """Where a person finds the records."""
    note: str = ""
    """What that person should know, or ``""``."""
    base: str = ""
    """The directory of a base, whose records are read as if they were here (`layered`)."""


class Store(abc.ABC):
    """Bytes under names, safe to use from many threads, processes and, after ``fork``, children.

    A malformed name or prefix, and data beyond ``MAX_RECORD_BYTES``, is a mistake of the caller:
    ``ValueError``. Everything that fails for another reason is a ``StoreError``. After a put, a
    compare-and-delete or a set-aside has raised, it may or may not have happened.
    """

    @abc.abstractmethod
    def get(self, name: str) -> bytes | None:
        """The record's bytes. ``None`` means absent, and only absent.

        Raises RecordUnreadable if ``name`` holds something that cannot be used, else
        StoreUnavailable.
        """

    @abc.abstractmethod
    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Store ``data``, atomically replacing what was there.

        ``durable=False`` may come back before the record is safe from a power failure; it is
        always safe from the end of this process, SIGKILL included.

        Raises StoreReadOnly, StoreFull or StoreUnavailable.
        """

    @abc.abstractmethod
    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        """Store ``data`` unless the name is taken, by an unreadable record too.

        True if ours was stored. Of all processes and hosts that try at once, one gets True.
        Raises like ``put``.
        """

    @abc.abstractmethod
    def delete_if(self, name: str, expected: bytes) -> bool:
        """Remove the record if it holds exactly ``expected``. True if this call removed it.

        Of all that try at once, one gets True. Raises like ``get`` and ``put``.
        """

    @abc.abstractmethod
    def list(self, prefix: str) -> Iterator[str]:
        """The names that start with ``prefix``, in no particular order; ``""`` lists all.

        A prefix that ends in ``/`` costs what is below that folder and nothing else. A record
        that is there all the time is listed once; one put or removed meanwhile may be missing.
        Raises like ``children``, also between two names.
        """

    @abc.abstractmethod
    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        """The next level of names that start with ``prefix``, in no particular order.

        Names end there or at their next ``/``, and then with it: below ``a/`` the names ``a/1``,
        ``a/b/2`` and ``a/b/3`` are ``a/1`` and ``a/b/``. With a limit no more are returned, and a
        store that would have to look at very many to find them may return fewer: it costs what so
        few cost, however many there are.
        Raises StoreUnavailable, or RecordUnreadable if it is this folder alone that is closed.
        """

    @abc.abstractmethod
    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        """Move a record that cannot be used out of the way, so that its name is free again.

        With ``seen`` (the bytes that the caller could not use) only a record that still holds
        them is moved, so that what another process has put there since is not moved.

        False if there is nothing (any more) to move, or it may not be moved: a link never is. A
        bounded number of set-aside records is kept for a person to look at.
        """

    @abc.abstractmethod
    def describe(self) -> StoreInfo:
        """What this store is. Never raises and writes nothing."""

    def close(self) -> None:  # noqa: B027 - most stores hold nothing
        """Let go of connections. Closing twice is fine; using a closed store is not."""

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def check_name(name: str) -> str:
    """``name``, if a record may have it; otherwise ValueError."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} is no record name: up to {MAX_NAME_PARTS} parts separated by '/', each of "
            f"1 to {MAX_PART_CHARS} of the characters A-Z a-z 0-9 _ . = ~ + @ - and not starting "
            "with '.'"
        )
    return name


def check_prefix(prefix: str) -> str:
    """``prefix``, if a record name may start with it; otherwise ValueError."""
    if prefix != "":
        check_name(prefix[:-1] if isinstance(prefix, str) and prefix.endswith("/") else prefix)
    return prefix


def check_data(data: bytes, most: int = MAX_RECORD_BYTES) -> bytes:
    """``data``, if it is bytes that a record may hold; otherwise ValueError or TypeError."""
    if not isinstance(data, bytes):
        raise TypeError(f"a record is bytes, not {type(data).__name__}")
    if len(data) > most:
        raise ValueError(f"{len(data)} bytes are too many: a record has at most {most}")
    return data
