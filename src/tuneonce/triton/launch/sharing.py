"""Of the processes of a machine that meet a cold key at once, one measures it.

The ranks of a server start together, and all of them meet the same keys. Who takes the claim of a
key (`system.claims`) measures it. The others have its candidates compiled, each binary by whichever
helper comes to it first, and adopt the verdict that is published.

Before it claims or waits, a process waits for its device. So whoever has a claim can measure at
once: a collective that other ranks have not come to yet is over. Whoever claimed first would wait
for the collective, and the other ranks, on their way to it, for the claim.

Waiting follows progress, and not whether somebody is alive: who is stopped is, too. Without
progress for some seconds the next one takes the claim of the next generation, and the first that
publishes decides for all. Nobody waits after `ready()`, in a capture, or for what cannot be kept.

Where machines share a remote (`replica.link`), who has the claim of a machine asks there whose turn
it is. A machine whose turn it is not has everything compiled, waits for the other's verdict a
second more, and then measures for itself: it is never later than that for it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from ...model.codec import digest
from ...phase import Phase, Phases
from ...replica.wishes import Turn
from ...resolution.resolver import Question
from ...system.claims import Claim, Claims
from ..compile.compilations import Compilations
from ..compile.listener import trial
from ..compile.workers import Workers
from ..kernel.collectives import talks_to_others
from ..kernel.session import Session
from ..measure.tuner import distinct
from ..seams import drivers
from .persistence import Persistence
from .undecided import clashes

if TYPE_CHECKING:
    from ...replica.link import Link

logger = logging.getLogger("tuneonce")

# Seconds without progress after which somebody else measures, once nothing is left to compile: a
# round of a race takes milliseconds. Arbitrary.
_PATIENCE_S = 3.0
# Seconds that a verdict may come after its claim is given up, in a store that is near, and in one
# that is far. Arbitrary: a record is written in some ten calls.
_GRACE_S, _FAR_GRACE_S = 0.5, 3.0
# Seconds that a key is waited for in all. Arbitrary: longer than any race takes.
_LONGEST_S = 600.0
# Seconds that another machine's verdict is waited for once all is compiled here. Arbitrary: what
# measuring takes here, since it has begun to measure by then.
_MACHINE_S = 1.0
# A process that has waited for so many machines in vain waits for none any more. Arbitrary.
_IN_VAIN = 2
# Seconds between two looks, the first and the longest.
_LOOK_S, _LOOKS_S = 0.002, 0.05
_GENERATIONS = 8
# A wait for the remote that is shorter, in seconds, is none to tell of. Arbitrary.
_TOLD_S = 0.001


class Sharing:
    """The cold keys that this process shares with others of its machine.

    `claims` is None where there is no directory for them. `apart` are patterns of kernels' names
    that each process measures for itself. `remote`, if any, is what machines share.
    """

    def __init__(
        self,
        persistence: Persistence,
        workers: Workers,
        phases: Phases,
        claims: Claims | None,
        *,
        apart: Sequence[str] = (),
        remote: Link | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._persistence, self._workers, self._phases = persistence, workers, phases
        self._claims, self._apart, self._remote = claims, tuple(apart), remote
        self._in_vain = 0
        self._clock, self._sleep = clock, sleep

    @contextlib.contextmanager
    def turn(self, session: Session) -> Iterator[Callable[[], None]]:
        """While a key is tuned, unless the session has a winner when it begins.

        Then another process has tuned it. Yields what is to be called as the tuning goes on. The
        caller holds the autotuner's lock. Raises nothing of its own.
        """
        claim: Claim | None = None
        if self._is_shared(session):
            with self._persistence.guarded("share_tuning"):
                claim = self._await_turn(session)
        try:
            yield _nothing if claim is None else claim.advance
        finally:
            if claim is not None:
                self._give_up(session)
                claim.give_up()

    def has_come(self, session: Session) -> bool:
        """Whether what machines share has come, so that a key may be known that was not.

        Waits for it, for a moment at most, while the program starts. Raises nothing of its own.
        """
        question, remote = session.question, self._remote
        if remote is None or question is None or self._phases.now is not Phase.STARTING:
            return False
        with self._persistence.guarded("await_remote"), self._told(session):
            return remote.await_pulled(_verdict_name(question))
        return False

    @contextlib.contextmanager
    def _told(self, session: Session) -> Iterator[None]:
        """What takes long inside is told as a wait."""
        began = self._clock()
        try:
            yield
        finally:
            waited = self._clock() - began
            if waited > _TOLD_S:
                self._workers.tell_wait(session.label, waited)

    def _give_up(self, session: Session) -> None:
        """This machine does not measure a key any more."""
        if self._remote is not None and session.question is not None:
            with self._persistence.guarded("share_tuning"):
                self._remote.give_up(_verdict_name(session.question))

    def _is_shared(self, session: Session) -> bool:
        if self._claims is None or self._phases.now is not Phase.STARTING:
            return False
        if session.question is None or session.together or clashes(session):
            return False
        name = session.question.key.kernel.name
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in self._apart):
            return False
        store = self._persistence.resolver.access.store
        # What cannot be published would be waited for in vain. A store that has answered just now
        # can be asked for what it is.
        if getattr(store, "is_silent", False) or not store.describe().writable:
            return False
        return not talks_to_others(session.autotuner)

    def _await_turn(self, session: Session) -> Claim | None:
        """The claim of a key; None where it has a winner now, or is to be measured without."""
        question, claims = session.question, self._claims
        assert question is not None
        assert claims is not None
        _await_device(session)
        verdict = _verdict_name(question)
        store = self._persistence.resolver.access.store.describe().location
        name = digest([store, verdict], length=40)
        waiting = _Waiting(self, session)
        try:
            for generation in range(_GENERATIONS):
                claim = waiting.claim(claims, f"{name}-{generation}")
                if claim is None and not waiting.stalled:
                    return None
                if claim is not None:
                    return self._kept(claim, waiting, verdict)
            return None
        finally:
            waiting.tell()

    def _kept(self, claim: Claim, waiting: _Waiting, verdict: str) -> Claim | None:
        """The claim, while there is something to measure under it; else it is given up."""
        try:
            if not self.adopts(waiting.session) and not self._elsewhere(waiting, verdict, claim):
                return claim
        except BaseException:
            self._give_up(waiting.session)
            claim.give_up()
            raise
        claim.give_up()
        return None

    def _elsewhere(self, waiting: _Waiting, verdict: str, claim: Claim) -> bool:
        """Whether another machine has measured a key of which this process has the claim."""
        if self._remote is None:
            return False
        with self._told(waiting.session):
            turn = self._remote.claim(verdict)
        if turn is Turn.OURS:
            return False
        if turn is Turn.THEIRS:
            if self._in_vain >= _IN_VAIN:
                return False
            waiting.for_machine(claim.advance)
        has_come = self.adopts(waiting.session)
        self._in_vain += not has_come
        return has_come

    @property
    def grace_s(self) -> float:
        """Seconds that a verdict may come after its claim is given up."""
        is_far = getattr(self._persistence.resolver.access.store, "is_far", False)
        return _FAR_GRACE_S if is_far else _GRACE_S

    def adopts(self, session: Session) -> bool:
        """Whether there is a verdict now; then the session has its winner."""
        question = session.question
        assert question is not None
        resolution = self._persistence.resolver.published(question)
        if resolution is not None:
            session.resolve(question, resolution)
        return resolution is not None


class _Waiting:
    """For one key, in one process."""

    def __init__(self, sharing: Sharing, session: Session) -> None:
        self._sharing, self.session = sharing, session
        self._clock, self._sleep = sharing._clock, sharing._sleep
        self._began: float | None = None
        self.stalled = False

    def claim(self, claims: Claims, name: str) -> Claim | None:
        """The claim of this name, as soon as it is free.

        None: there is a verdict, or will be none, or whoever has it does not go on (`stalled`).
        """
        self.stalled = False
        claim = claims.take(name)
        if claim is not None:
            return claim
        self._help()
        progress, moved, gone = claims.progress(name), self._clock(), None
        pause = _LOOK_S
        while not self._sharing.adopts(self.session):
            now, latest = self._clock(), claims.progress(name)
            if latest is not None and (claim := claims.take(name)) is not None:
                if claim.inherited:  # whoever had it was ended in the middle of it
                    return claim
                claim.give_up()
                latest = None
            if latest is None:  # given up: if there is no verdict soon, there will be none
                gone = now if gone is None else gone
                if now - gone > self._sharing.grace_s:
                    return None
            elif latest != progress:
                progress, moved = latest, now
            elif now - moved > _PATIENCE_S:
                self.stalled = True
                return None
            if now - self._waits_since > _LONGEST_S:
                return None
            self._sleep(pause)
            pause = min(2 * pause, _LOOKS_S)
        return None

    def for_machine(self, advance: Callable[[], None]) -> None:
        """Until another machine has a verdict, or should have one. Calls `advance` meanwhile."""
        self._help(advance)
        until, pause = self._clock() + _MACHINE_S, _LOOK_S
        while not self._sharing.adopts(self.session) and self._clock() < until:
            advance()
            self._sleep(pause)
            pause = min(2 * pause, _LOOKS_S)

    def _help(self, advance: Callable[[], None] | None = None) -> None:
        """Have what the key needs compiled, until there is a verdict."""
        if self._began is not None:
            return
        advance = _nothing if advance is None else advance
        self._began = self._clock()
        session, workers = self.session, self._sharing._workers
        if workers.pool() is None:
            return
        positions = [p for p in distinct(session.candidates).values() if p not in session.known]
        compilations = Compilations(session, workers, stop=lambda: self._sharing.adopts(session))
        with closing(compilations), trial():
            for _ in compilations.arrivals(sorted(positions)):
                advance()

    @property
    def _waits_since(self) -> float:
        return self._clock() if self._began is None else self._began

    def tell(self) -> None:
        if self._began is not None:
            self._sharing._workers.tell_wait(self.session.label, self._clock() - self._began)


def _verdict_name(question: Question) -> str:
    return question.key.verdict_name(question.work_class, question.digests)


def _await_device(session: Session) -> None:
    """Wait for all that this process has sent to its device."""
    if session.interpreted and "torch" not in sys.modules:
        return  # nothing was sent; and who asks for a driver has Triton import torch
    with contextlib.suppress(Exception):  # there is none, or it has failed: the launch will say so
        drivers.device_interface(drivers.active()).synchronize()


def _nothing() -> None:
    """In the place of `Claim.advance`, where nobody waits."""
