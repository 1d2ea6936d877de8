"""How long a caller waits for something slow, in sum."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

# What a start may be later because its store is slow. Arbitrary: a disk takes less than a tenth of
# a second, and so does a mount that answers in a millisecond.
_SECONDS = 2.0


class Patience:
    """Seconds that a caller has for waiting, over all of its waits. For one thread at a time."""

    def __init__(
        self, seconds: float = _SECONDS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left, self._clock = seconds, clock

    @property
    def left(self) -> float:
        """The seconds that are left, as of the last wait that ended."""
        return max(0.0, self._left)

    @contextlib.contextmanager
    def waiting(self, most: float | None = None) -> Iterator[float]:
        """What is waited for inside is to take no longer than it says, nor than `most`."""
        began = self._clock()
        try:
            yield self.left if most is None else min(most, self.left)
        finally:
            self._left -= self._clock() - began
