"""What exploring may cost, what it has the next launch run, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What exploring may cost. Where no reason is given, a number is arbitrary within two times.

    Ties, certainty and what is hopeless are as in a race (`tuning.race.RULES`).
    """

    # At most this share of a key's launches explore.
    share: float = 0.5
    # The most excess, in launches of the incumbent, and how much of it first looks may take.
    excess: float = 150.0
    looks_share: float = 0.7
    # Counted launches of a look.
    look_samples: int = 3
    # So many candidates are looked at side by side: their times come back late.
    side_by_side: int = 4
    # So many launches of the incumbent are timed at once.
    in_flight: int = 8
    # A candidate that is ahead by so much after its look is the incumbent at once.
    ahead: float = 0.05
    # So many run in passes, however far behind they were, if not hopelessly: one proves nothing.
    least_finalists: int = 3
    # The most passes. With a spread of 5 % in single launches, 64 leave an error of 1 %.
    most_passes: int = 64


TERMS = Terms()


class Choice(NamedTuple):
    """What one launch runs. `timed`: its time is wanted. `number`: of the pass that it is in.

    `instead_of` is the level of the incumbent that would have run.
    """

    position: int
    size: float
    timed: bool
    number: int
    instead_of: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How it ended. `excess` is in launches of the incumbent, `excess_ms` in milliseconds.

    `certain`: neither passes nor excess were spent. `untried` candidates did not come from the
    compiler, or there was nothing left to try them with. `held_back` ones could not win by what was
    expected, and were never asked for. `gained` is the share of a launch's time that the winner
    saves over what served at first, None if that did not run for long enough.
    """

    winner: int
    certain: bool
    launches: int
    explored: int
    excess: float
    excess_ms: float
    passes: int
    dropped: frozenset[int]
    failed: frozenset[int]
    untried: frozenset[int]
    held_back: frozenset[int] = frozenset()
    gained: float | None = None
