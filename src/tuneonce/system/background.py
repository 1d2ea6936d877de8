"""One thread that does pieces of work in turn, for as long as there are any."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from .forks import renew_in_child
from .threads import start_thread

Item = TypeVar("Item")

# A thread without work for so long ends. Arbitrary.
_IDLE_S = 10.0
# So many turns of items that were woken go before one that comes again. Arbitrary.
_MOST_BEFORE = 32


class Background(Generic[Item]):
    """Calls `work(item)` for each item that is woken, one at a time.

    What `work` returns, if anything, is after how many seconds it is to be called again though
    nobody wakes the item. An item that is woken several times before its turn has one turn, and
    goes before those that come again, which are taken by `rank`, the greatest first.
    `on_error(item, error)` hears of what `work` raises. Thread-safe; starts lazily; a forked child
    has nothing to do.
    """

    is_pressed: bool
    """For `work`: whether its item was woken and others wait, so that what takes long had better
    come again, in its turn among these."""

    def __init__(
        self,
        work: Callable[[Item], float | None],
        *,
        name: str,
        on_error: Callable[[Item, Exception], None],
        rank: Callable[[Item], float] = lambda item: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._name, self._on_error, self._clock = work, name, on_error, clock
        self._rank = rank
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child."""
        # Reentrant: a signal handler may wake something while this thread does.
        self._changed = threading.Condition(threading.RLock())
        self._woken: dict[Item, None] = {}
        self._due: dict[Item, float] = {}  # when each that comes again is to have its turn
        self._before = 0
        self.is_pressed = False
        self._busy = False
        self._runs = False

    def wake(self, item: Item) -> bool:
        """It has its turn soon. False: there can be no thread, and nothing will be done."""
        with self._changed:
            self._woken[item] = None
            self._due.pop(item, None)
            self._changed.notify_all()
            if self._runs:
                return True
            self._runs = True
            try:
                start_thread(self._run, name=self._name)
            except RuntimeError:  # no more threads, or the interpreter ends
                self._runs = False
                return False
            return True

    def forget(self, item: Item) -> None:
        """It needs no turn any more."""
        with self._changed:
            self._woken.pop(item, None)
            self._due.pop(item, None)

    def wait_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds that this thread brings about; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and holds(), seconds)

    def _run(self) -> None:
        changed, due, woken = self._changed, self._due, self._woken
        while True:
            with changed:
                self._busy = False
                changed.notify_all()
                item = self._next()
                if item is None:
                    return
                self._busy = True
                comes_again = item not in woken
                woken.pop(item, None)
                due.pop(item, None)
                self.is_pressed = not comes_again and bool(woken or due)
            again: float | None = None
            try:
                again = self._work(item)
            except Exception as error:
                self._on_error(item, error)
            if again is not None:
                with changed:
                    if item not in woken:
                        due[item] = self._clock() + again
            del item

    def _next(self) -> Item | None:
        """Whose turn it is; None when there was nothing to do for a while."""
        ends = self._clock() + _IDLE_S
        while True:
            now = self._clock()
            ready = [item for item, due in self._due.items() if due <= now]
            if self._woken and not (ready and self._before >= _MOST_BEFORE):
                self._before += bool(ready)
                return next(iter(self._woken))
            if ready:
                self._before = 0
                return max(ready, key=self._rank)
            if not self._due and now >= ends:
                self._runs = False
                return None
            until = min(self._due.values(), default=ends)
            self._changed.wait(max(0.0, until - now))
