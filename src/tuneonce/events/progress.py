"""Tells people that a tuning which takes long is a tuning, not a hang: one line, with an ETA.

On a terminal the line is drawn on standard error and erased when the tuning ends; elsewhere a line
is logged now and then. A tuning that is over within two seconds is not shown.

There is no thread for this: a line changes when the tuner reports a step, which also reads the
clock, so a quick tuning costs a few readings of the clock. An error in here ends the progress
lines, never the tuning.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from ..model.wording import kernel_name
from ..system.forks import renew_in_child

logger = logging.getLogger("tuneonce")

# Quicker tunings are not shown; and so long after a line the log gets no other one.
QUIET_S = 2.0
LOG_EVERY_S = 5.0
# On a terminal a line changes at most so often; arbitrary, faster than people read.
DRAW_EVERY_S = 0.1
# So long the end of a tuning waits for another thread that is drawing. Arbitrary.
PATIENCE_S = 1.0
# A key is shortened to so many characters. Arbitrary: with the rest it fits a terminal's line.
KEY_CHARS = 48
# For so many characters of a name the words about the candidates are shortened. Arbitrary.
_NAME_CHARS = 12


class Progress:
    """The tunings of one process; several threads may tune at once.

    `clock` is in seconds. `stream` is drawn on if it is a terminal; by default it is what standard
    error is when a line is drawn.
    """

    def __init__(
        self,
        *,
        on: bool = True,
        clock: Callable[[], float] = time.monotonic,
        stream: IO[str] | None = None,
        raise_errors: bool = False,
    ) -> None:
        self._on = on
        self._clock = clock
        self._stream = stream
        self._raise_errors = raise_errors
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        # Also called in a forked child: the lock and the line are its parent's.
        self._lock = threading.Lock()
        self._long: list[Tuning] = []
        self._live: Any = None
        self._drawn = float("-inf")

    def tuning(self, kernel: str, key: str, *, total: int, known: int = 0) -> Tuning:
        """One tuning, to be used in a ``with`` statement.

        `kernel` is ``module:name``, `key` short and readable. `total` counts the candidates,
        `known` those among them that are measured already.
        """
        return Tuning(self, kernel, key, total=total, known=known)

    # -- called by a tuning ------------------------------------------------------------------

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._on = False
            if self._raise_errors:
                raise
            logger.debug("tuneonce: no more progress lines: %r", error)

    def _now(self) -> float:
        if self._on:
            with self._guarded():
                return self._clock()
        return 0.0

    def _stepped(self, tuning: Tuning, now: float) -> None:
        if not self._on or now - tuning.began < QUIET_S:
            return
        with self._guarded():
            # Not waited for: the thread that holds the lock shows a line just now.
            if not self._lock.acquire(blocking=False):
                return
            try:
                if self._may_draw():
                    self._draw(tuning, now)
                elif now - tuning.logged_at >= LOG_EVERY_S:
                    tuning.logged_at = now
                    logger.info("tuneonce: %s", tuning.text(now))
            finally:
                self._lock.release()

    def _ended(self, tuning: Tuning) -> None:
        if tuning not in self._long:  # it never had a line on the terminal
            return
        with self._guarded():
            # Waited for, but not for ever: the drawing thread may be stuck in a terminal.
            if not self._lock.acquire(timeout=PATIENCE_S):
                return
            try:
                self._erase(tuning)
            finally:
                self._lock.release()

    def _erase(self, tuning: Tuning) -> None:
        self._long.remove(tuning)
        live = self._live
        if live is None:
            return
        if self._long:
            live.update(self._line(self._clock()), refresh=True)
        else:
            self._live = None
            live.stop()

    # -- on a terminal -----------------------------------------------------------------------

    def _may_draw(self) -> bool:
        stream = self._stream or sys.stderr
        # It is None in a process without a standard error.
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"

    def _draw(self, tuning: Tuning, now: float) -> None:
        if tuning not in self._long:
            self._long.append(tuning)
        elif now - self._drawn < DRAW_EVERY_S:
            return
        self._drawn = now
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            # Nothing is redirected: what the program prints meanwhile is none of ours.
            live = Live(
                console=Console(file=self._stream or sys.stderr, highlight=False, markup=False),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            live.start()
            self._live = live
        self._live.update(self._line(now), refresh=True)

    def _line(self, now: float) -> Any:
        from rich.text import Text

        # Asked anew each time: windows change their width.
        line = self._long[0].line(now, width=self._live.console.width, more=len(self._long) - 1)
        return Text(line, no_wrap=True, overflow="ellipsis")


class Tuning:
    """How far one tuning is. A candidate takes two steps: it is compiled, and it is measured."""

    def __init__(
        self, progress: Progress, kernel: str, key: str, *, total: int, known: int
    ) -> None:
        self._progress = progress
        self._kernel = _printable(kernel_name(kernel))
        self._key = shorten(_printable(key))
        self._total = total
        self._known = known
        self._compiled: set[int] = set()
        self._looked: set[int] = set()
        self._first_look = 0.0
        self.began = progress._now()
        self.logged_at = float("-inf")

    def compiled(self, candidate: int) -> None:
        """A candidate has come from the compiler."""
        self._compiled.add(candidate)
        self._progress._stepped(self, self._progress._now())

    def looked(self, candidate: int) -> None:
        """A candidate has been measured, for the first time or again, or cannot run."""
        now = self._progress._now()
        if not self._looked:
            self._first_look = now
        self._compiled.add(candidate)
        self._looked.add(candidate)
        self._progress._stepped(self, now)

    def __enter__(self) -> Tuning:
        return self

    def __exit__(self, *error: object) -> None:
        self._progress._ended(self)

    def text(self, now: float) -> str:
        """``tuning chunk_fwd n=64: 12 of 25 candidates, about 8 s left``, for a log."""
        left = "" if (eta := self._eta(now)) is None else f", {_about(eta)}"
        return f"tuning {self._name()}: {self._done()} of {self._total} candidates{left}"

    def line(self, now: float, *, width: int, more: int = 0) -> str:
        """``tuning: 12 of 25 candidates, about 8 s left: chunk_fwd n=64``, for a terminal.

        A terminal cuts off the end of a line that is too long. So names are at the end, and the
        time that is left comes first, in fewer words where the names would have no room; the line
        has at most `width` characters wherever that is possible. `more` tunings go on beside this.
        """
        eta = self._eta(now)
        left, beside = "" if eta is None else f", {_about(eta)}", f" (and {more} more)" * bool(more)
        whole = f"tuning: {self._done()} of {self._total} candidates{left}{beside}"
        shorter = f"{self._done()} of {self._total}{left}{beside}"
        shortest = f"{self._done()}/{self._total}{left.replace('about ', '')}"
        name = self._name()
        room = min(len(name), _NAME_CHARS) + 2
        for head in (whole, shorter, shortest):
            if len(head) + room <= width:
                return f"{head}: {name}"
        return next((head for head in (shorter, shortest) if len(head) <= width), shortest)

    def _name(self) -> str:
        return f"{self._kernel} {self._key}" if self._key and self._key != "-" else self._kernel

    def _done(self) -> int:
        return min(self._known + len(self._looked), self._total)

    def _eta(self, now: float) -> float | None:
        """Seconds left at the rates so far; None before the first step.

        Compiling and measuring go side by side, each at its own pace: the slower one decides.
        """
        wanted = max(self._total - self._known, 0)
        compiled, looked = min(len(self._compiled), wanted), min(len(self._looked), wanted)
        if looked > 1:
            looking = (now - self._first_look) * (wanted - looked) / (looked - 1)
            return max(looking, (now - self.began) * (wanted - compiled) / compiled)
        steps, done = 2 * wanted, compiled + looked
        return (now - self.began) * (steps - done) / done if done else None


def shorten(text: str, *, limit: int = KEY_CHARS) -> str:
    """`text` with its end cut off where it is too long."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _printable(text: Iterable[str]) -> str:
    """The text without characters that steer a terminal, which keys of a program may hold."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _about(seconds: float) -> str:
    """``about 8 s left``, ``about 3 min left``."""
    if seconds < 1:
        return "nearly done"
    if seconds < 100:
        return f"about {seconds:.0f} s left"
    return f"about {seconds / 60:.0f} min left"
