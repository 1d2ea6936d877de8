"""Passes that the launches of a program make up: each live candidate once, as the launches come.

Two passes are under way at once, since times come back late. A pass of which a time does not come
back is left out, the others' times with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from statistics import fmean

# So many passes are under way at once. Arbitrary.
_UNDER_WAY = 2
# So many launches of the incumbent are timed in a pass; one is needed.
_OF_INCUMBENT = 2


class Passes:
    """The passes of one key. The incumbent is launched between the others, whenever it serves.

    None begins while `most` are whole and were not taken: whoever takes them may be busy for long.
    """

    def __init__(self, random: Random, *, most: int) -> None:
        self._random, self._most = random, most
        self._live: list[int] = []
        self._order: list[int] = []  # what is left of the pass that is begun
        self._open: dict[int, dict[int, list[float]]] = {}
        self._whole: list[dict[int, float]] = []
        self._timed_in = self._timed = 0  # the incumbent's launches in a pass
        self.number = 0
        """That of the last pass that was begun."""

    @property
    def live(self) -> Sequence[int]:
        """The candidates of the next pass."""
        return self._live

    def go_on_with(self, live: Collection[int]) -> None:
        """From the next pass on only these run. What is under way with others is left out."""
        if sorted(live) != self._live:
            self._live = sorted(live)
            self.begin_anew()

    def begin_anew(self) -> None:
        """Another candidate serves. What is under way is left out: the one that has served until
        now was to be launched between the others, and would be missing."""
        self._order.clear()
        self._open.clear()

    def next(self, incumbent: int) -> int | None:
        """Whose turn it is; None while none may begin."""
        if not self._order:
            if len(self._open) >= _UNDER_WAY or len(self._whole) >= self._most:
                return None
            self._order = [p for p in self._live if p != incumbent]
            if not self._order:
                return None
            self.number += 1
            self._open[self.number] = {}
            self._random.shuffle(self._order)
        return self._order.pop()

    def wants(self, incumbent: int, flying: int) -> bool:
        """Whether the incumbent's next launch is to be timed; of `flying` the times will come."""
        if self.number != self._timed_in:
            self._timed_in, self._timed = self.number, 0
        elif self._timed >= _OF_INCUMBENT:
            opened = self._open.get(self.number)
            if flying or opened is None or incumbent in opened:
                return False
        self._timed += 1
        return True

    @property
    def whole(self) -> int:
        """How many have become whole and were not taken."""
        return len(self._whole)

    def add(self, number: int, position: int, ms: float) -> bool:
        """A time of a pass; whether that has become whole."""
        opened = self._open.get(number)
        if opened is None:
            return False
        opened.setdefault(position, []).append(ms)
        if len(opened) < len(self._live) or not all(p in opened for p in self._live):
            return False
        del self._open[number]
        self._whole.append({p: fmean(opened[p]) for p in self._live})
        return True

    def lose(self, number: int) -> None:
        """A time of this pass will not come."""
        self._open.pop(number, None)

    def take(self) -> list[dict[int, float]]:
        """The passes that have become whole."""
        whole, self._whole = self._whole, []
        return whole
