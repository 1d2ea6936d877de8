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


class Background(Generic[Item]):
    """Calls `work(item)` for each item that is woken, one at a time.

    What `work` returns, if anything, is after how many seconds it is to be called again though
    nobody wakes the item. An item that is woken several times before its turn has one turn.
    `on_error(item, error)` hears of what `work` raises. Thread-safe; starts lazily; a forked child
    has nothing to do.
    """

    def __init__(
        self,
        work: Callable[[Item], float | None],
        *,
        name: str,
        on_error: Callable[[Item, Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._name, self._on_error, self._clock = work, name, on_error, clock
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child."""
        # Reentrant: a signal handler may wake something while this thread does.
        self._changed = threading.Condition(threading.RLock())
        self._due: dict[Item, float] = {}  # when each is to have its turn
        self._busy = False
        self._runs = False

    def wake(self, item: Item) -> bool:
        """It has its turn soon. False: there can be no thread, and nothing will be done."""
        with self._changed:
            self._due[item] = 0.0
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
            self._due.pop(item, None)

    def wait_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds that this thread brings about; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and holds(), seconds)

    def _run(self) -> None:
        changed, due = self._changed, self._due
        while True:
            with changed:
                self._busy = False
                changed.notify_all()
                item = self._next()
                if item is None:
                    return
                self._busy = True
                due.pop(item)
            again: float | None = None
            try:
                again = self._work(item)
            except Exception as error:
                self._on_error(item, error)
            if again is not None:
                with changed:
                    due.setdefault(item, self._clock() + again)
            del item

    def _next(self) -> Item | None:
        """Whose turn it is; None when there was nothing to do for a while."""
        ends = self._clock() + _IDLE_S
        while True:
            now = self._clock()
            first = min(self._due, key=self._due.__getitem__, default=None)
            if first is not None and self._due[first] <= now:
                return first
            if first is None and now >= ends:
                self._runs = False
                return None
            until = ends if first is None else self._due[first]
            self._changed.wait(max(0.0, until - now))
