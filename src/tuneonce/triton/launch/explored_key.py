"""One key whose traffic tunes it: what is kept of it between its launches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ...tuning.expectations import Expectations
from ...tuning.exploration import Exploration
from ...tuning.race import RULES, Summary
from ...tuning.terms import Terms, Verdict
from ..compile.supply import Supply
from ..kernel.known_winners import Entry, entry_for
from ..kernel.lookalikes import without_memory
from ..kernel.session import Session
from ..measure.launch_events import Lane
from ..measure.result import Result
from ..measure.tuner import distinct
from .persistence import Persistence

# A candidate's times are written down again when there are so many times as many. Arbitrary.
_GROWN = 1.5
# A first launch whose time does not come is over after so many seconds. Arbitrary: longer than a
# device is behind its program, and so short that no process is killed just then by chance.
_NAMED_S = 2.0


class ExploredKey:
    """One key at one work class. Its launches are of `session`, which holds none of their tensors.

    `first` is the candidate that has run already. `failed` did not, by position with their reasons.
    """

    def __init__(
        self,
        session: Session,
        first: int,
        failed: dict[int, str],
        *,
        device: Any,
        lane: Lane[Any],
        terms: Terms,
    ) -> None:
        positions = sorted(distinct(session.candidates).values())
        self.session = without_memory(session)
        self.candidates: Sequence[Any] = session.candidates
        self.device, self.lane = device, lane
        self.exploration = Exploration(positions, first, terms=terms, seed=session.seed)
        self.failed = dict(failed)
        """Why candidates cannot run."""
        self.supply: Supply | None = None
        self.answer: int | None = None
        """The winner that the store has, while it is being loaded."""
        self.asked: set[int] = set()
        """Those that were asked for, of the ones that are wanted."""
        self.not_had: set[int] = set()
        """Candidates that cannot be compiled or loaded beside the launches."""
        self.ended = False
        self.overruled = False
        """Whether the program has put a winner of its own in place."""
        self._entries: dict[int, Entry] = {}
        self.name_of_class = ""
        """Its work class among its key's."""
        self.is_awake = False
        """Whether a launch has woken the thread, which has not come to it yet."""
        self._named: dict[int, tuple[AbstractContextManager[None], float]] = {}
        self.results: dict[int, Any] = {}
        """What Triton returned of the first launch of each candidate."""
        self._recorded: dict[int, int] = {}
        self.learn()

    def learn(self) -> None:
        """Take up what is known of its candidates by now."""
        known, positions = self.session.known, self.exploration.candidates
        for position, one in known.items():
            if one.failed is not None:
                self.failed.setdefault(position, one.failed)
        for position in self.failed:
            if position in positions:
                self.exploration.fail(position)
        # What a benchmark has measured says so, by having no number of samples.
        enough = self.exploration.terms.look_samples
        self.exploration.restore(
            {
                position: (one.times[0], one.samples or enough)
                for position, one in known.items()
                if one.failed is None and one.times[0] > 0 and position in positions
            }
        )

    def hold_back(self) -> None:
        """Leave out, for now, who could not win by what the key's own classes let expect."""
        prior, exploration = self.session.prior, self.exploration
        between = prior.between
        if between is None:
            return
        known = {p: one.times[0] for p, one in self.session.known.items() if one.times}
        expectations = Expectations(
            exploration.candidates,
            known=known,
            prior=prior.times,
            compile_s={},
            trust=RULES.trust,
            seed=self.session.seed,
            prior_error=between.error,
            probes=not between.on_both_sides,
        )
        left_out = set(between.ruled_out)
        if between.on_both_sides:
            left_out = set(exploration.candidates).difference(expectations.first())
        exploration.hold_back(left_out.difference(known), expectations)

    def wanted(self) -> list[int]:
        """Those that are to be compiled and loaded now, what is expected to be fast first. They
        count as asked for."""
        known, prior = self.session.known, self.session.prior.times

        def expected(position: int) -> float:
            one = known.get(position)
            return prior.get(position, 0.0) if one is None or not one.times else one.times[0]

        found = sorted(self.exploration.pending - self.asked)
        self.asked.update(found)
        return sorted(found, key=expected)

    def entry_of(self, position: int) -> Entry:
        """A candidate, as it is now, and how to launch it."""
        entry = self._entries.get(position)
        if entry is None or entry.config.__dict__ != entry.seen:
            entry = entry_for(self.session.stock_key, self.candidates[position])
            self._entries[position] = entry
        return entry

    def name(self, position: int) -> None:
        """Its first launch is under way: the journal says so, in case it ends the process."""
        journal, question = self.session.journal, self.session.question
        if journal is not None and question is not None and position not in self._named:
            launching = journal.launching(question.digests[position])
            launching.__enter__()
            self._named[position] = launching, time.monotonic()

    def unname(self, *, at_the_end: bool = False) -> float | None:
        """First launches that are over are not named any more; when to ask again, if not all are.

        One is over when its time has come, and taken for it after a while: it may not be timed.
        """
        exploration, now = self.exploration, time.monotonic()
        for position, (launching, since) in list(self._named.items()):
            has_run = exploration.has_run(position) or position in exploration.failed
            if at_the_end or has_run or now - since > _NAMED_S:
                self._named.pop(position)
                launching.__exit__(None, None, None)
        return _NAMED_S if self._named else None

    def record(
        self, persistence: Persistence, summaries: dict[int, Summary], *, all_of_them: bool
    ) -> None:
        """Write down what is known, for a process that goes on with it.

        `summaries` are the exploration's, which must not be asked for while a launch changes it.
        """
        for position, why in list(self.failed.items()):  # a launch may add one
            if self._recorded.get(position) != -1:
                self._recorded[position] = -1
                failed = Result([math.inf] * 3, failed=why)
                persistence.record(self.session, position, failed, method="explore")
        for position, summary in summaries.items():
            before = self._recorded.get(position, 0)
            if before < 0 or (summary.samples < _GROWN * before + 1 and not all_of_them):
                continue
            self._recorded[position] = summary.samples
            times = [summary.median_ms, summary.p20_ms, summary.p80_ms]
            # Not settled, so that a race orders by them and decides for itself.
            result = Result(times, samples=summary.samples, settled=False)
            persistence.record(self.session, position, result, method="explore")

    def end(self) -> None:
        """Ask for no more candidates, and close what is open."""
        self.ended = True
        if self.supply is not None:
            for position in self.supply.close():
                self.not_had.add(position)
        self.unname(at_the_end=True)
        journal, self.session.journal = self.session.journal, None
        if journal is not None:
            journal.close()

    def about(self, verdict: Verdict, text: Callable[[Session, int], str]) -> dict[str, Any]:
        """What an event says of how it ended."""
        return {
            "winner": text(self.session, verdict.winner),
            "launches": verdict.launches,
            "explored": verdict.explored,
            "excess": round(verdict.excess, 3),
            "excess_ms": round(verdict.excess_ms, 6),
            "passes": verdict.passes,
            "candidates": len(self.exploration.candidates),
            "dropped": len(verdict.dropped),
            "failed": len(verdict.failed),
            "untried": len(verdict.untried),
            "held_back": len(verdict.held_back),
            "certain": verdict.certain,
            "instead_of": text(self.session, self.exploration.served),
            "gained": None if verdict.gained is None else round(verdict.gained, 4),
        }
