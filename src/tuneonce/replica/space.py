"""What a shelf of packs needs of the place that it is kept in: few objects, some of megabytes.

All calls raise StoreError and nothing else. A name has the form of a record's.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Sequence
from typing import NamedTuple

from .base import Traffic


class Swap(enum.Enum):
    """What became of an attempt to replace a head."""

    DONE = "done"
    """It is ours now."""
    LOST = "lost"
    """Another was first, and nobody will see ours."""
    UNSURE = "unsure"
    """One or the other; what it names must stay."""


class Versioned(NamedTuple):
    """The bytes of a head, and what names this version of them for `Space.swap`."""

    data: bytes
    version: str


class Space(abc.ABC):
    """Objects under names. `traffic` is counted by whoever makes the requests."""

    conditional = True
    """Whether ``swap`` compares. Where it cannot, the last one who writes wins."""

    def __init__(self) -> None:
        self.traffic = Traffic()

    def prepare(self) -> None:  # noqa: B027 - most spaces need not find out anything
        """Find out, before the first write, whether this place compares at all."""

    @abc.abstractmethod
    def read(self, names: Sequence[str], *, most: int) -> list[bytes | None]:
        """Whole objects, asked for together; None for one that is not there.

        Raises StoreUnavailable if one has more than `most` bytes, which is found out before it is
        read.
        """

    @abc.abstractmethod
    def create(self, name: str, data: bytes) -> None:
        """Write an object whose name nobody else uses."""

    @abc.abstractmethod
    def remove(self, names: Sequence[str]) -> None:
        """Remove objects; one that is not there is none to remove."""

    @abc.abstractmethod
    def read_head(self, name: str, *, most: int) -> Versioned | None:
        """An object that is replaced as a whole; None if it is not there."""

    def read_heads(self, names: Sequence[str], *, most: int) -> list[Versioned | None]:
        """`read_head` of some, asked for together where a space can do that."""
        return [self.read_head(name, most=most) for name in names]

    def remove_head(self, name: str) -> None:
        """Remove an object that is replaced as a whole, whatever it is by now."""
        self.remove([name])

    @abc.abstractmethod
    def swap(self, name: str, data: bytes, version: str | None) -> Swap:
        """Replace a head if it still has this version; None: if there is none yet."""

    @abc.abstractmethod
    def folders(self, prefix: str) -> list[str]:
        """The next parts of names that go on behind ``prefix/``, sorted."""

    def try_writing(self, prefix: str) -> bool:
        """Find out whether objects below ``prefix/`` may be written, as `Replica.try_writing`."""
        return True

    def close(self) -> None:  # noqa: B027
        """Let go of connections."""
