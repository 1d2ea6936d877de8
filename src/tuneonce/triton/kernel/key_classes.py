"""The winners of one of Triton's keys, one for each work class that was met.

`Autotuner.cache` has room for one winner a key: it holds the one that was launched last. So whether
what it holds was put there by us, or by the program, which is obeyed, must be known at each launch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from threading import get_ident
from typing import Any, NamedTuple

from ...model.key import UNKNOWN_CLASS, Work, work_class
from ...tuning.between_classes import apart, likeliest
from .grid import extent
from .known_winners import Entry, Explored, Known, entry_for
from .sizes import whole

# The class of all launches of a key that has but one.
_ALL = UNKNOWN_CLASS


class Measured(NamedTuple):
    """A class that was measured, here or by whoever stored it: its winner's digest, and the
    milliseconds of each candidate that ran, by theirs."""

    winner: str
    times: Mapping[str, float]


class KeyClasses:
    """What runs under one key, by work class."""

    __slots__ = (
        "_crowded",
        "_last",
        "_thread",
        "captured",
        "exploring",
        "first",
        "keys",
        "measured",
        "single",
        "stock_key",
        "winners",
    )

    is_fixed = False
    """Whether nothing is measured, and other things than its class decide what a launch runs."""

    def __init__(self, autotuner: Any, stock_key: tuple[Any, ...], *, single: bool = False) -> None:
        self.stock_key = stock_key
        self.single = single
        """Whether launches of all sizes have one winner."""
        self.keys = copy.copy(autotuner.keys)
        """What the kernel was tuned by: a program may change that."""
        self.first = dict(autotuner.configs[0].all_kwargs())
        """The first candidate's values, with which the number of programs is computed."""
        self.winners: dict[Any, Entry] = {}
        self.measured: dict[str, Measured] = {}
        """What is known of those of these classes that run a winner of their own."""
        self.exploring: dict[str, Any] = {}
        """Classes whose launches tune them (`launch.explored_key`)."""
        self.captured: dict[str, Any] = {}
        """What CUDA graphs were captured with of classes that are not measured."""
        self._last: Any = None
        self._thread: int | None = None
        self._crowded = False
        """Whether several threads have changed which winner the cache holds."""

    def new_known(self) -> Known:
        """What is known for calls of one shape: nothing yet."""
        return Known(whole, {}, self)

    def name(self, work: Work) -> str:
        """The class of a launch of so much work."""
        return _ALL if self.single else work_class(*work)

    def entry_of(self, work: Work) -> Entry | None:
        """What a launch of so much work runs: its class's winner, or what explores it.

        None if its class was not met, or it launches nothing, which decides nothing.
        """
        if work.programs == 0:
            return None
        name = self.name(work)
        winner = self.winners.get(name)
        if winner is not None:
            return winner
        explored = self.exploring.get(name)
        if explored is None or explored.ended:
            return None
        return Entry(self.stock_key, Explored(explored, extent(work)), {}, {})

    def put(self, cache: Any, name: Any, config: Any) -> None:
        """This class has a winner, and it is what the autotuner's cache holds now."""
        self.decide(name, config)
        self.launched(cache, config)

    def decide(self, name: Any, config: Any) -> None:
        """This class has a winner, from its next launch on."""
        self.measured.pop(name, None)
        self.winners[name] = entry_for(self.stock_key, config, self)
        self.exploring.pop(name, None)

    def offer(self, cache: Any, config: Any) -> None:
        """Have the cache hold this winner, if it holds none."""
        if self.stock_key not in cache:
            self._last = config
            cache[self.stock_key] = config

    def launched(self, cache: Any, config: Any) -> None:
        """This winner of ours is launched now. In this order, for other threads' launches."""
        if self._thread != get_ident():
            self._crowded, self._thread = self._thread is not None, get_ident()
        self._last = config
        cache[self.stock_key] = config

    def is_ours(self, found: Any) -> bool:
        """Whether what the cache holds was put there by us: last; or at some time, where several
        threads launch, since one may have been interrupted between two steps."""
        if found is self._last:
            return True
        return self._crowded and any(found is entry.config for entry in self.winners.values())

    def switches(self, cache: Any, found: Any, config: Any) -> bool:
        """Have the cache hold this winner instead of one of ours. False: that is none of ours."""
        if not self.is_ours(found):
            return False
        self.launched(cache, config)
        return True

    def end(self) -> None:
        """The program has decided: nothing of ours runs any more."""
        for explored in list(self.exploring.values()):
            explored.overruled = True
        self.exploring.clear()
        self.measured.clear()
        self.winners.clear()

    def for_now(self, work: Work) -> Any:
        """What a launch of a class without a winner runs: of the other classes' winners, which are
        all loaded, the one that is expected to be the fastest; where nothing tells, that of the
        nearest class, the larger of two. None if there is none.
        """
        name, winners = self.name(work), dict(self.winners)  # other threads add to these
        measured = {one: of for one, of in dict(self.measured).items() if one in winners}
        likely = likeliest(
            name,
            {one: of.times for one, of in measured.items()},
            {one: of.winner for one, of in measured.items()},
        )
        if likely is not None:
            return winners[likely].config
        nearest = min(winners, key=lambda one: apart(one, name), default=None)
        return None if nearest is None else winners[nearest].config
