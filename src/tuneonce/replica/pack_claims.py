"""Claims in a space: an object for each name that somebody works on, and for no other.

    <namespace>/<shelf>/claims/<digest of the name>
        {"schema":"tuneonce.claim/1","owner":...,"word":...}

Whoever creates it has the claim. It is replaced by compare-and-swap, and each time the word makes
it unlike what it was, since some servers tell versions apart by their bytes. No clock of another
machine is looked at: who finds another's claim notes when that was, and takes it over once it has
stayed the same for long enough by the own clock. So a claim is free after an owner has gone for as
long as somebody has watched it.

A claim that is given up is removed. There is no conditional remove in general, so it is read and
then removed; an owner that was away for longer than its claim was held may remove what another has
put there in between, which costs the work of one record. What a killed process leaves is some 100
bytes, until somebody claims that name again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec

from ..errors import StoreReadOnly
from .space import Space, Swap, Versioned

CLAIM = "tuneonce.claim/1"

# The owner of a claim that anybody may take; no owner is called so.
_NOBODY = ""


class _Claim(msgspec.Struct, frozen=True):
    schema: str
    owner: str
    word: str


class PackClaims:
    """The claims of one process in a space that compares. They are called by names of objects."""

    def __init__(self, space: Space, clock: Callable[[], float] = time.monotonic) -> None:
        self._space = space
        self._clock = clock
        # Of claims of others, by object: the version, and when it was first seen.
        self._seen: dict[str, tuple[str, float]] = {}

    def create(self, at: str, owner: str) -> bool:
        """Claim what nobody has claimed. False: somebody has, or it is not known."""
        if self._space.swap(at, _claim_of(owner), None) is not Swap.DONE:
            return False
        self._seen.pop(at, None)
        return True

    def take(self, at: str, owner: str, seconds: float, found: Versioned | None) -> bool:
        """Claim what was found there, if it is this owner's, nobody's, or old enough."""
        if found is None:
            return self.create(at, owner)
        if self.renew(at, owner, found):
            return True
        if _owner_of(found) != _NOBODY and not self._is_old(at, found, seconds):
            return False
        if self._space.swap(at, _claim_of(owner), found.version) is not Swap.DONE:
            return False
        self._seen.pop(at, None)
        return True

    def _is_old(self, at: str, found: Versioned, seconds: float) -> bool:
        now = self._clock()
        version, since = self._seen.get(at, ("", now))
        if version != found.version:
            since = now
        self._seen[at] = (found.version, since)
        return now - since >= seconds

    def renew(self, at: str, owner: str, found: Versioned | None) -> bool:
        """Make the claim that was found unlike what it was, if it is this owner's."""
        if found is None or _owner_of(found) != owner:
            return False
        # Whether it was made so is not always known, and it was this owner's a moment ago.
        return self._space.swap(at, _claim_of(owner), found.version) is not Swap.LOST

    def give_up(self, at: str, owner: str, found: Versioned | None) -> None:
        """Remove the claim that was found, if it is this owner's."""
        if found is None or _owner_of(found) != owner:
            return
        try:
            self._space.remove_head(at)
        except StoreReadOnly:  # one may be allowed to write and not to remove
            self._space.swap(at, _claim_of(_NOBODY), found.version)

    def forget(self, at: str) -> None:
        """What was claimed is there: nobody is watched any more."""
        self._seen.pop(at, None)


def _claim_of(owner: str) -> bytes:
    return msgspec.json.encode(_Claim(CLAIM, owner, os.urandom(8).hex()))


def _owner_of(found: Versioned) -> str | None:
    """Whose claim it is; None where that cannot be read: another's."""
    try:
        claim = msgspec.json.decode(found.data, type=_Claim)
    except (ValueError, msgspec.MsgspecError):
        return None
    return claim.owner if claim.schema == CLAIM else None
