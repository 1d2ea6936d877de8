"""How long the incumbent takes, by what it took just before, for a launch of another size.

The launches of one key and work class differ in size by up to four times, and a GPU's clocks change
while they come. So a launch is compared with the incumbent's last ones, those of its own size if
there are some, else scaled by how the incumbent's times grow with the size.

Sizes and times are given as natural logarithms. Nothing here reads a clock.
"""

from __future__ import annotations

from collections import deque
from statistics import fmean, median

# The median of the last three of the very same size counts, if there are so many. Else of so many
# launches those of about the same size are looked for, and of so many the median counts. Arbitrary:
# about as many as lie within a change of clocks.
_NEAR, _COUNTED = 16, 5
# Sizes that differ by less count as one: times do not differ by more.
_SAME_SIZE = 0.02
# The growth is found out from so many launches, again after every `_AGAIN`.
_WINDOW, _AGAIN = 64, 16
# Times grow with the size, at most in proportion and a little more: what noise says beyond that is
# not believed. Until it is known they are taken to grow with its root.
_LEAST_GROWTH, _MOST_GROWTH, _GROWTH = 0.0, 1.2, 0.5
# It is known once it was found from so many launches. Arbitrary: one outlier among them is seen.
_KNOWN = 8
# Until then a launch needs so many to be compared with whose size is so near. Whatever the growth
# is, they take no more than 7 % longer or shorter.
_COMPARED, _NEAR_SIZE = 2, 0.1
# With sizes that spread less (as a variance) the growth cannot be told, and does not matter.
_SPREAD = 0.01


class Baseline:
    """The incumbent's last launches."""

    def __init__(self) -> None:
        self.samples: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        """Their sizes and times, the last one last."""
        self._same: dict[float, tuple[float, ...]] = {}  # the last of one size, to find them soon
        self._until_again = 4
        self.growth = _GROWTH
        """By how much the time's logarithm grows with that of the size."""
        self._is_growth_known = False

    @property
    def last_size(self) -> float:
        """That of the incumbent's last launch."""
        return self.samples[-1][0]

    def add(self, size: float, time: float) -> None:
        """One launch of the incumbent."""
        self.samples.append((size, time))
        same = self._same.get(size, ())
        if len(self._same) >= _WINDOW:
            self._same.clear()
        self._same[size] = (*same[-2:], time)
        self._until_again -= 1
        if self._until_again <= 0:
            self._until_again = min(_AGAIN, len(self.samples))
            self._find_growth()

    def tells(self, size: float) -> bool:
        """Whether a launch of this size can be compared with those of the incumbent."""
        if self._is_growth_known or len(self._same.get(size, ())) >= _COMPARED:
            return True
        near = [its for its, _ in self.samples if abs(size - its) < _NEAR_SIZE]
        return len(near) >= _COMPARED

    def shift(self, difference: float) -> None:
        """Another candidate is the incumbent now, whose times are so much longer."""
        shifted = [(size, time + difference) for size, time in self.samples]
        self.samples.clear()
        self.samples.extend(shifted)
        self._same.clear()

    def expected(self, size: float) -> float:
        """How long it would take now. Raises IndexError before the first launch of it."""
        same = self._same.get(size, ())
        if len(same) == 3:
            return sorted(same)[1]
        near: list[float] = []
        others: list[float] = []
        for (its_size, time), _ in zip(reversed(self.samples), range(_NEAR), strict=False):
            apart = size - its_size
            if -_SAME_SIZE < apart < _SAME_SIZE:
                near.append(time)
                if len(near) == _COUNTED:
                    break
            elif len(others) < _COUNTED:
                others.append(time + self.growth * apart)
        found = near if len(near) > 1 else near + others
        found.sort()
        return found[(len(found) - 1) // 2]

    def scaled(self, size: float, time: float) -> float:
        """A time as it would be at size 1 (logarithm 0)."""
        return time - self.growth * size

    def _find_growth(self) -> None:
        """The least squares' line, without what lies far from it."""
        samples = list(self.samples)
        line = _line(samples)
        if line is None:
            return
        apart = [abs(time - line[0] - line[1] * size) for size, time in samples]
        far = 3 * median(apart)
        line = _line([one for one, its in zip(samples, apart, strict=True) if its <= far]) or line
        self.growth = min(max(line[1], _LEAST_GROWTH), _MOST_GROWTH)
        self._is_growth_known |= len(samples) >= _KNOWN


def _line(samples: list[tuple[float, float]]) -> tuple[float, float] | None:
    """Where it begins and how it grows; None where sizes hardly differ."""
    if len(samples) < 3:
        return None
    sizes = [size for size, _ in samples]
    if (max(sizes) - min(sizes)) ** 2 < 4 * _SPREAD:  # no variance is more than a quarter of that
        return None
    middle, height = fmean(sizes), fmean([time for _, time in samples])
    spread = sum([(size - middle) ** 2 for size in sizes])
    if spread < _SPREAD * len(samples):
        return None
    growth = sum([(size - middle) * (time - height) for size, time in samples]) / spread
    return height - growth * middle, growth
