"""Which candidate the next launch of a key runs, where the key's own traffic tunes it.

Every launch runs one candidate, once, and its time comes back later, perhaps many launches later.
The *incumbent* serves. At most a set share of the launches *explore*: they run another candidate.

1. A candidate is *looked* at as soon as its binary is loaded: a first launch that does not count
   (its code is in no cache), then a few. Each is compared with the incumbent's launches just before
   (`tuning.baseline`). One that is far behind in all of them is dropped; one that is clearly ahead
   becomes the incumbent at once.
2. When no candidate is to come any more, those that are left run in *passes* (`tuning.passes`):
   each once, in changing order, the incumbent's launches between them. Passes are judged as those
   of a race (`tuning.finals`), until the winner is certain, or the passes or the excess are spent.
   Of those that tie, the one that served at first wins, else the first of the author's list.

The *excess* is what exploring launches took beyond what the incumbent would have taken, in launches
of the incumbent. It is bounded, so the price of a key is known beforehand.

Where much is expected of the candidates, those that could not win are *held back*: their binaries
are not asked for. They are once the looks of the others show that the expectation is wrong.

If the winner has become slower since others were dropped beside it, these are looked at once more.

`choose`, `observe`, `fail` and `lose` take some microseconds; what takes longer is in `decide`,
which the caller makes when `due` says so, in a thread of its own. The caller sees to it that two
threads are not in here at once. No clock, no I/O. Times are in milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import exp, log
from random import Random
from statistics import fmean

from .baseline import Baseline
from .expectations import Expectations
from .finals import Finals
from .levels import Excess, gain, level_beside, summary
from .passes import Passes
from .race import RULES, Summary
from .terms import TERMS, Choice, Terms, Verdict

_HOPELESS = log(RULES.hopeless)
# A single launch so far behind is enough, if the first, which does not count, was, too.
_FAR = log(2 * RULES.hopeless)
_TWICE = log(2)
_LEAST_MS = RULES.least_ms
# Levels of a candidate that are kept for its record. Arbitrary.
_KEPT = 64
# Nothing is explored before so many launches of the incumbent are there to compare with, and it is
# known how its times grow with the size, or there are some of the same size.
_LEAST = 2
# While no candidate is there, one of so many launches is timed, to have something to compare with
# when one comes. Arbitrary: the device's clocks change in seconds.
_IDLE = 16


class Exploration:
    """One key at one work class.

    `candidates` are positions in the author's list, ascending, `incumbent` is the one that serves
    at first, and whose binary is there. `order`: those that are expected to be fast go first.
    """

    def __init__(
        self,
        candidates: Iterable[int],
        incumbent: int,
        *,
        terms: Terms = TERMS,
        seed: int = 0,
    ) -> None:
        self.candidates = sorted(candidates)
        if incumbent not in self.candidates:
            raise ValueError("the incumbent is none of the candidates")
        self.terms = terms
        self.incumbent = self.served = incumbent
        self.launches = self.explored = 0
        self.spent = Excess()
        self.dropped: set[int] = set()
        self.failed: set[int] = set()
        self.verdict: Verdict | None = None
        self.due = False
        """Whether `decide` has something to do."""
        self._random = Random(seed)
        self.pending = set(self.candidates) - {incumbent}
        """Those whose binary is still waited for."""
        self.held_back: set[int] = set()
        """Those that could not win, by what is expected."""
        self._expectations: Expectations | None = None
        self._looking: list[int] = []
        self._looks: dict[int, list[float]] = {}
        self._first: dict[int, float] = {}
        # By how much a candidate's logarithm is above that of the first incumbent.
        self._levels: dict[int, float] = {incumbent: 0.0}
        self._kept = {p: deque[float](maxlen=_KEPT) for p in self.candidates}
        self._launched: dict[int, int] = dict.fromkeys(self.candidates, 0)
        self._flying: dict[int, int] = dict.fromkeys(self.candidates, 0)
        self._reopened: set[int] = set()
        self._cut = False  # some were not looked at, for want of excess
        self._last_ms = 0.0  # of the incumbent
        self._baseline = Baseline()
        self._finals: Finals | None = None
        self._passes = Passes(self._random, most=terms.most_passes)
        self._judged_at, self._taken = RULES.judged_at, 0  # after how many passes, of how many

    # -- what is known before ----------------------------------------------------------------

    def restore(self, known: dict[int, tuple[float, int]]) -> None:
        """Go on where another process stopped: median times and how many samples, by position.

        What is far behind is not tried again, and what is not is not looked at again, if the
        incumbent is known, too.
        """
        enough = {p: ms for p, (ms, samples) in known.items() if samples >= self.terms.look_samples}
        if not enough:
            return
        best = log(min(enough.values()))
        for position, (ms, _) in known.items():
            level = log(ms) - best
            behind = level > (_HOPELESS if position in enough else _FAR)
            if behind and position != self.incumbent:
                self.dropped.add(position)
                self.pending.discard(position)
            if self.incumbent in enough and (behind or position in enough):
                self._levels[position] = level

    def hold_back(self, positions: Iterable[int], expectations: Expectations) -> None:
        """Do not wait for these, of whom nothing is known, until the looks of the others show that
        they could win by what is expected."""
        self.held_back |= self.pending.intersection(positions) - self._levels.keys()
        self.pending -= self.held_back
        self._expectations = expectations

    def rank(self) -> list[int]:
        """Candidates that are known, the fastest first."""
        return sorted(self._levels.keys() - self.failed, key=lambda p: (self._levels[p], p))

    @property
    def device_ms(self) -> float:
        """What its launches have taken of the device, about."""
        return self.launches * self._last_ms

    def has_run(self, position: int) -> bool:
        """Whether a time of it has come."""
        return self._launched[position] > 0

    # -- what becomes of candidates ----------------------------------------------------------

    def available(self, position: int) -> None:
        """Its binary is loaded now."""
        if position in self.pending:
            self.pending.discard(position)
            if position not in self._levels:
                self._looking.append(position)
            self.due = True

    def missing(self, position: int) -> None:
        """Its binary will not come, for a reason that says nothing of it."""
        self.pending.discard(position)
        self.due = True

    def fail(self, position: int) -> None:
        """It cannot run."""
        self.failed.add(position)
        self.pending.discard(position)
        self._out(position)
        if position == self.incumbent:
            left = self.rank()
            if left:
                self._promote(left[0])
            else:  # nothing is known of the others: all begins anew
                unknown = set(self.candidates) - self.failed
                asked = unknown - self.held_back
                self.incumbent = min(asked or unknown, default=position)
                self.pending.discard(self.incumbent)
                self.held_back.discard(self.incumbent)
                self._levels, self._baseline = {self.incumbent: 0.0}, Baseline()
        self.due = True

    # -- a launch ----------------------------------------------------------------------------

    def choose(self, size: int | None) -> Choice:
        """What the next launch runs; `size` is its number of programs, None if not known."""
        self.launches += 1
        at = log(size) if size else 0.0
        incumbent = self.incumbent
        if (
            self.verdict is None
            and self.explored < self.terms.share * self.launches - 1
            and len(self._baseline.samples) >= _LEAST
            and self._baseline.tells(at)
        ):
            choice = self._next(at)
            if choice is not None:
                self.explored += 1
                self._flying[choice.position] += 1
                return choice
        timed = self._is_timed(incumbent, at)
        if timed:
            self._flying[incumbent] += 1
        return Choice(incumbent, at, timed, self._passes.number, self._levels[incumbent])

    def _is_timed(self, incumbent: int, size: float) -> bool:
        """Whether the time of its next launch is of use; finding it out is not for nothing."""
        if self.verdict is not None:
            return False
        flying = self._flying[incumbent]
        if len(self._baseline.samples) < _LEAST or not self._baseline.tells(size):
            return flying < self.terms.in_flight
        if self._finals is None:
            idle = not self._looking and self.launches % _IDLE
            return not idle and flying < self.terms.in_flight
        return self._passes.wants(incumbent, flying)

    def _next(self, size: float) -> Choice | None:
        if self.spent.launches >= self._allowed:
            return None  # `decide` will end it
        if self._looking:
            is_first = False  # one first launch at a time, so that it is known whose ends a process
            for position in self._looking[: self.terms.side_by_side]:
                new = not self._launched[position]
                if not self._flying[position] and not (new and is_first):
                    return Choice(position, size, True, 0, self._levels[self.incumbent])
                is_first |= new
            return None
        turn = self._passes.next(self.incumbent)
        if turn is None:
            return None
        return Choice(turn, size, True, self._passes.number, self._levels[self.incumbent])

    @property
    def _allowed(self) -> float:
        """The excess at which `decide` ends what is going on, looks or passes."""
        terms = self.terms
        return terms.excess * terms.looks_share if self._looking else terms.excess

    def lose(self, choice: Choice) -> None:
        """A launch whose time will not come."""
        if choice.timed:
            self._flying[choice.position] -= 1
            if choice.position != self.incumbent:
                self._passes.lose(choice.number)

    def observe(self, choice: Choice, ms: float) -> None:
        """The time of a launch that was to be timed."""
        position = choice.position
        self._flying[position] -= 1
        if self.verdict is not None or position in self.failed:
            return
        time = log(ms if ms > _LEAST_MS else _LEAST_MS)
        launched = self._launched[position]
        self._launched[position] = launched + 1
        if position == self.incumbent:
            if launched:
                self._last_ms = ms
                self._baseline.add(choice.size, time)
            self._in_pass(choice, time)
            return
        if not self._baseline.samples:  # what it was to be compared with has failed
            self._passes.lose(choice.number)
            return
        level = time - self._baseline.expected(choice.size) + self._levels[self.incumbent]
        if not launched:
            self.due = True
            self._first[position] = level
            self._passes.lose(choice.number)
            return
        above = level - choice.instead_of
        if above > 0:
            self.spent.add(above, ms)
        if launched == 1:
            # Of the first it is not known how much was loading: not more than half is believed.
            first = min(self._first[position] - choice.instead_of, above + _TWICE)
            self.spent.add(first, ms * exp(first - above))
        if self.spent.launches >= self._allowed:
            self.due = True
        self._kept[position].append(level)
        if choice.number:
            self._in_pass(choice, time)
        elif position in self._looking:
            self._look(position, level)

    def _look(self, position: int, level: float) -> None:
        looks = self._looks.setdefault(position, [])
        looks.append(level)
        incumbent, least = self._levels[self.incumbent], min(looks)
        far = incumbent + _FAR
        is_far = least > far and (len(looks) > 1 or self._first.get(position, far) > far)
        if not is_far and len(looks) < self.terms.look_samples:
            return
        self._looking.remove(position)
        ordered = sorted(looks)
        self._levels[position] = fmean(ordered[:2])
        if least > incumbent + _HOPELESS:
            self.dropped.add(position)
        elif ordered[len(ordered) // 2] < incumbent - self.terms.ahead:
            self._promote(position)
        self.due = True

    def _in_pass(self, choice: Choice, time: float) -> None:
        ms = exp(self._baseline.scaled(choice.size, time))
        if self._passes.add(choice.number, choice.position, ms):
            wanted = min(self._judged_at, self.terms.most_passes) - self._taken
            self.due |= self._passes.whole >= wanted

    # -- what takes longer -------------------------------------------------------------------

    def decide(self) -> Verdict | None:
        """Judge what has come; the verdict, once there is one."""
        self.due = False
        if self.verdict is not None:
            return self.verdict
        terms = self.terms
        spent = self.spent.launches >= terms.excess
        if self._looking and self.spent.launches >= terms.excess * terms.looks_share:
            self._looking.clear()
            self._cut = True
        if self._looking or (self.pending and not spent):
            return None
        if self._finals is None:
            if not spent and self._ask_more():
                return None
            self._begin_finals()
        finals = self._finals
        assert finals is not None
        for taken in self._passes.take():
            self._taken += 1
            if taken.keys() >= set(finals.live):
                finals.add({p: taken[p] for p in finals.live})
        certain = len(finals.live) < 2
        if not certain and self._taken >= self._judged_at and finals.passes:
            certain = finals.judge()
            self._judged_at = int(self._taken * RULES.growth) + 1
            self._after_judging(finals)
        if not certain and not spent and self._taken < terms.most_passes:
            return None
        passes = max(map(len, finals.times.values()), default=0)
        winner = finals.winner() if passes else None
        if winner is None:  # no pass was taken: nothing to choose between, or nothing to spend
            winner = self.incumbent
        if self._reopen(winner, finals):
            return None
        self._promote(winner)
        self.verdict = self._ended(winner, certain and not self._cut, passes)
        return self.verdict

    def _ask_more(self) -> bool:
        """Wait for those that were held back and could win after all. False: there are none."""
        if self._expectations is None or not self.held_back:
            return False
        seen = {p: exp(level) for p, level in self._levels.items() if p not in self.failed}
        asked = set(self.candidates) - self.held_back
        more = self.held_back.intersection(self._expectations.more(seen, asked))
        self.held_back -= more
        self.pending |= more
        return bool(more)

    def _begin_finals(self) -> None:
        ranked = [p for p in self.rank() if p not in self.dropped]
        best = self._levels[ranked[0]] if ranked else 0.0
        near = [p for p in ranked if self._levels[p] <= best + _HOPELESS]
        for position in self.rank():
            if len(near) >= self.terms.least_finalists:
                break
            if position not in near and self._levels[position] <= best + _FAR:
                near.append(position)
        if self.incumbent not in near:
            near.append(self.incumbent)
        rules = RULES
        self._finals = Finals(
            near, tie=rules.tie, sure=rules.sure, fine=rules.fine, before=self.served
        )
        self._judged_at, self._taken = RULES.judged_at, 0
        self._passes.go_on_with(self._finals.live)

    def _after_judging(self, finals: Finals) -> None:
        leading = finals.winner()
        if leading is not None and (
            self.incumbent not in finals.live or finals.passes >= RULES.least_passes
        ):
            self._promote(leading)
        self._passes.go_on_with({*finals.live, self.incumbent} if finals.live else ())

    def _reopen(self, winner: int, finals: Finals) -> bool:
        """Look once more at those that were dropped beside a winner that is slower by now."""
        now = level_beside(finals.times, self._levels, winner)
        if now is None:
            return False
        again = {
            p
            for p in self.dropped - self._reopened - self.failed
            if self._levels.get(p, 0.0) < now - self.terms.ahead and p not in finals.times
        }
        if not again or self.spent.launches >= self.terms.excess * self.terms.looks_share:
            return False
        self._promote(winner)
        self._levels[winner] = now
        self._reopened |= again
        self.dropped -= again
        for position in again:
            self._levels.pop(position)
            self._looks.pop(position, None)
        self._looking = sorted(again)
        self._finals = None
        self._passes.go_on_with(())
        return True

    def _promote(self, position: int) -> None:
        if position != self.incumbent:
            was = self._levels.get(self.incumbent, 0.0)
            self._baseline.shift(self._levels.get(position, was) - was)
            self._passes.begin_anew()
            self.incumbent = position
            self.dropped.discard(position)

    def _out(self, position: int) -> None:
        if position in self._looking:
            self._looking.remove(position)
        self._levels.pop(position, None)
        if self._finals is not None:
            self._finals.remove(position)
            self._passes.go_on_with([p for p in self._passes.live if p != position])

    # -- what it came to ---------------------------------------------------------------------

    def summaries(self) -> dict[int, Summary]:
        """What is known of each candidate's times, as if all launches had been of one size."""
        if not self._baseline.samples:
            return {}
        size = self._baseline.last_size
        base = self._baseline.expected(size) - self._levels[self.incumbent]
        found = {p: summary(sorted(kept), base) for p, kept in self._kept.items() if kept}
        for position, level in self._levels.items():  # what has served was not compared
            launched = self._launched[position]
            if position not in found and launched:
                found[position] = summary([level] * min(launched, _KEPT), base)
        return {p: one for p, one in found.items() if p not in self.failed}

    def _ended(self, winner: int, certain: bool, passes: int) -> Verdict:
        tried = self._levels.keys() | self.failed | self.dropped
        times = {} if self._finals is None else self._finals.times
        return Verdict(
            winner=winner,
            certain=certain,
            launches=self.launches,
            explored=self.explored,
            excess=self.spent.launches,
            excess_ms=self.spent.ms,
            passes=passes,
            dropped=frozenset(self.dropped),
            failed=frozenset(self.failed),
            untried=frozenset(self.candidates) - tried - self.held_back,
            held_back=frozenset(self.held_back),
            gained=gain(times, self._levels, winner, self.served),
        )
