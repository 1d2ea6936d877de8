"""Finds out whether the helper generates a kernel's code as this process does, in a thread.

One candidate of the kernel is generated here, in a piece while nobody tunes, and the helper
compares it with its own. Until then it compiles what was packed on trial and keeps nothing of it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
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
    """What is to be compared, one after the other. Thread-safe."""

    def __init__(self, fronts: Fronts, packing: Packing, turns: Turns) -> None:
        self._fronts, self._packing, self._turns = fronts, packing, turns
        self._lock = threading.Lock()
        self._owed: deque[tuple[CompilePool, Check]] = deque()
        self._running = False

    def owe(self, pool: CompilePool, check: Check) -> None:
        """To be compared soon."""
        with self._lock:
            self._owed.append((pool, check))
            if self._running:
                return
            thread = threading.Thread(target=self._run, name="tuneonce-checks", daemon=True)
            try:
                thread.start()
                self._running = True
                return
            except RuntimeError:  # no more threads
                left = [*self._owed]
                self._owed.clear()
        for owed in left:
            self._deny(*owed)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._owed:
                    self._running = False
                    return
                pool, check = self._owed.popleft()
            try:
                with self._turns.piece():
                    text = self._fronts.text(check.src, check.target, check.options, check.backend)
                job = {**check.job, "module": text}
                pool.check(job, partial(self._packing.told, check.src))
            except Exception:  # the launch will say what is wrong with this candidate
                logger.debug("tuneonce: the code of %s cannot be compared", check.src.name)
                self._deny(pool, check)

    def _deny(self, pool: CompilePool, check: Check) -> None:
        self._packing.told(check.src, False)
        pool.deny(check.job["kernel"])
