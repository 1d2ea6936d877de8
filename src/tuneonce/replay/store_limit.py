"""Keeps the store below a limit, once in each start and never in a launch.

A thread for which nobody waits looks through the store: the sizes and times of its files. It works
a few milliseconds at a time and pauses four times as long, so that it holds the interpreter for a
fifth of the time at most. If the store holds more than the limit, what was used longest ago goes
(`inspect.garbage`). Of the processes of a user on a machine one does this at a time. Several
machines may do it at once: each removes only what is still as it has seen it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..store import open_store
from ..system.claims import Claims
from ..system.forks import renew_in_child
from ..system.greenlets import patched_by
from ..system.threads import start_thread

logger = logging.getLogger("tuneonce")

# How long the thread works at a time, and how many times as long it pauses then. Arbitrary: the
# first is less than the interval in which Python changes threads.
_TURN_S, _PAUSES = 0.003, 4

# After so many seconds it ends, done or not; the next start goes on. Arbitrary: with these pauses
# 100,000 records on a disk take some 20 seconds to look through.
_WITHIN_S = 600.0


class OutOfTime(Exception):
    """The store is too large, or too far away, to be looked through by a start."""


class Turns:
    """Works for a moment, then pauses. Called now and then; raises OutOfTime at the end."""

    def __init__(
        self,
        *,
        within_s: float = _WITHIN_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._began = clock()
        self._until = self._began + within_s

    def __call__(self) -> None:
        now = self._clock()
        if now > self._until:
            raise OutOfTime
        if now - self._began > _TURN_S:
            self._sleep(_PAUSES * (now - self._began))
            self._began = self._clock()


class StoreLimit:
    """At most `most_bytes` in the store at `url`, with its journals in `journals()`.

    `claims` is None where the processes of a machine cannot agree.
    """

    def __init__(
        self,
        url: str,
        most_bytes: int,
        *,
        journals: Callable[[], list[Path]],
        claims: Claims | None,
        guarded: Callable[[str], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._url, self._most_bytes = url, most_bytes
        self._journals, self._claims, self._guarded = journals, claims, guarded
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, which has a start of its own."""
        self._begun = threading.Lock()

    def begin(self) -> None:
        """Have a thread do it, if none has. Returns at once, raises nothing."""
        if patched_by() is not None or not self._begun.acquire(blocking=False):
            return
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter ends
            start_thread(self._run, name="tuneonce-limit")

    def _run(self) -> None:
        with self._guarded("limit"), contextlib.suppress(OutOfTime):
            self.keep(Turns())

    def keep(self, turns: Callable[[], Any]) -> None:
        """Bring the store down to its limit; `turns` is called often."""
        claim = None
        if self._claims is not None:
            name = hashlib.sha256(self._url.encode()).hexdigest()[:40]
            with contextlib.suppress(OSError):
                claim = self._claims.take(f"limit-{name}")
                if claim is None:  # another process does it
                    return
        try:
            self._bring_down(turns)
        finally:
            if claim is not None:
                claim.give_up()

    def _bring_down(self, turns: Callable[[], Any]) -> None:
        # Imported where it is needed: most starts have no limit.
        from ..errors import StoreError
        from ..inspect.clearing import clear
        from ..inspect.garbage import Criteria, Places, plan
        from ..resolution.journal import FOLDER
        from ..store.walking import clock

        with open_store(self._url) as store:
            info = store.describe()
            if info.kind != "files" or not info.writable:
                return
            places = Places((Path(info.location, FOLDER), *self._journals()))
            try:
                asked = Criteria(most_bytes=self._most_bytes)
                found = plan(store, asked, now=clock(info.location), places=places, each=turns)
                if found.held.bytes <= self._most_bytes:
                    return
                done = clear(store, found, each=turns)
            except (StoreError, OSError) as error:
                logger.info("tuneonce: the store's limit was not looked after: %s", error)
                return
        mb = 1 << 20
        logger.info(
            "tuneonce: the store held %d MB: removed %d keys and %d profiles that were used longest"
            " ago, %d MB%s",
            found.held.bytes // mb,
            done.keys,
            done.profiles,
            done.bytes // mb,
            "" if found.bytes_after <= self._most_bytes else "; the rest is too new, or others'",
        )
