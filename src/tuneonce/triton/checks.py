"""Finds out whether the helper generates a kernel's code as this process does, in a thread.

One candidate of the kernel is generated here, in a piece while nobody tunes, and the helper
compares it with its own. Until then it compiles what was packed on trial and keeps nothing of it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import partial
from typing import Any

from .compile_pool import CompilePool
from .fronts import Fronts
from .pack import Packing
from .turns import Turns

logger = logging.getLogger("tuneonce")


@dataclass(frozen=True)
class Check:
    """A candidate to compare: its source, for parsed `options`, and the `job` it was packed in."""

    src: Any
    target: Any
    options: Any
    backend: Any
    job: dict[str, Any]


class Checks:
    """Kernels that are on trial, by name, with candidates that can tell. Thread-safe."""

    def __init__(self, fronts: Fronts, packing: Packing, turns: Turns) -> None:
        self._fronts, self._packing, self._turns = fronts, packing, turns
        self._lock = threading.Lock()
        self._owed: OrderedDict[str, deque[tuple[CompilePool, Check]]] = OrderedDict()
        self._asked: set[str] = set()  # the helper has not answered yet
        self._running = False

    def owe(self, pool: CompilePool, check: Check, *, urgent: bool) -> None:
        """The kernel is to be compared, by this candidate or another one of it."""
        kernel = check.job["kernel"]
        with self._lock:
            if kernel in self._asked:
                return
            self._owed.setdefault(kernel, deque()).append((pool, check))
            if urgent:
                self._owed.move_to_end(kernel, last=False)
            if self._running:
                return
            thread = threading.Thread(target=self._run, name="tuneonce-checks", daemon=True)
            try:
                thread.start()
                self._running = True
            except RuntimeError:  # no more threads
                del self._owed[kernel]
                self._deny(pool, kernel)

    def hurry(self, kernel: str) -> None:
        """Somebody waits for this one now."""
        with self._lock:
            if kernel in self._owed:
                self._owed.move_to_end(kernel, last=False)

    def _run(self) -> None:
        try:
            while (owed := self._next()) is not None:
                self._compare(*owed)
        except BaseException:  # otherwise `_next` has said it, and there may be another thread
            with self._lock:
                self._running = False
            raise

    def _next(self) -> tuple[CompilePool, Check] | None:
        with self._lock:
            if not self._owed:
                self._running = False
                return None
            return next(iter(self._owed.values())).popleft()

    def _compare(self, pool: CompilePool, check: Check) -> None:
        kernel = check.job["kernel"]
        try:
            with self._turns.piece():
                text = self._fronts.text(check.src, check.target, check.options, check.backend)
        except Exception:  # the launch will say what is wrong with this candidate
            logger.debug("tuneonce: a candidate of %s tells nothing", check.src.name, exc_info=True)
            with self._lock:
                if not self._owed[kernel]:
                    del self._owed[kernel]
                    self._deny(pool, kernel)
            return
        with self._lock:
            del self._owed[kernel]
            self._asked.add(kernel)
        job = {**check.job, "module": text}
        if not pool.check(job, partial(self._answered, check)):
            with self._lock:
                self._asked.discard(kernel)  # the next candidate will have it asked again

    def _answered(self, check: Check, alike: bool) -> None:
        kernel = check.job["kernel"]
        if not alike:
            logger.debug("tuneonce: the code of %s is generated here", check.src.name)
        self._packing.told(kernel, alike)
        with self._lock:
            self._asked.discard(kernel)

    def _deny(self, pool: CompilePool, kernel: str) -> None:
        self._packing.told(kernel, False)
        pool.deny(kernel)
