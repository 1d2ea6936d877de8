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
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from ...model.codec import digest
from ...phase import Phase, Phases
from ...system.claims import Claim, Claims
from ..compile.compilations import Compilations
from ..compile.listener import trial
from ..compile.workers import Workers
from ..kernel.identity import innermost
from ..kernel.session import Session
from ..measure.tuner import distinct
from ..seams import drivers, kernels
from .persistence import Persistence
from .undecided import clashes

logger = logging.getLogger("tuneonce")

# Seconds without progress after which somebody else measures, once nothing is left to compile: a
# round of a race takes milliseconds. Arbitrary.
_PATIENCE_S = 3.0
# Seconds that a verdict may come after its claim is given up, in a store that is near, and in one
# that is far. Arbitrary: a record is written in some ten calls.
_GRACE_S, _FAR_GRACE_S = 0.5, 3.0
# Seconds that a key is waited for in all. Arbitrary: longer than any race takes.
_LONGEST_S = 600.0
# Seconds between two looks, the first and the longest.
_LOOK_S, _LOOKS_S = 0.002, 0.05
_GENERATIONS = 8

# What kernels are called or call whose launch waits for other GPUs. Measured alone they would hang.
_COLLECTIVE = re.compile(
    r"nvshmem|rocshmem|libshmem|symm_mem|symmetric_memory|signal_pad|multimem|mscclpp|\bnccl\b",
    re.I,
)


class Sharing:
    """The cold keys that this process shares with others of its machine.

    `claims` is None where there is no directory for them. `apart` are patterns of kernels' names
    that each process measures for itself.
    """

    def __init__(
        self,
        persistence: Persistence,
        workers: Workers,
        phases: Phases,
        claims: Claims | None,
        *,
        apart: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._persistence, self._workers, self._phases = persistence, workers, phases
        self._claims, self._apart = claims, tuple(apart)
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
                claim.give_up()

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
        text = kernels.source_text(innermost(session.autotuner.fn)) or ""
        return _COLLECTIVE.search(text) is None

    def _await_turn(self, session: Session) -> Claim | None:
        """The claim of a key; None where it has a winner now, or is to be measured without."""
        question, claims = session.question, self._claims
        assert question is not None
        assert claims is not None
        _await_device()
        verdict = question.key.verdict_name(question.work_class, question.digests)
        store = self._persistence.resolver.access.store.describe().location
        name = digest([store, verdict], length=40)
        waiting = _Waiting(self, session)
        try:
            for generation in range(_GENERATIONS):
                claim = waiting.claim(claims, f"{name}-{generation}")
                if claim is None and not waiting.stalled:
                    return None
                if claim is not None:
                    if not self.adopts(session):
                        return claim
                    claim.give_up()
                    return None
            return None
        finally:
            waiting.tell()

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
        self._sharing, self._session = sharing, session
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
        while not self._sharing.adopts(self._session):
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

    def _help(self) -> None:
        """Have what the key needs compiled, until there is a verdict."""
        if self._began is not None:
            return
        self._began = self._clock()
        session, workers = self._session, self._sharing._workers
        if workers.pool() is None:
            return
        positions = [p for p in distinct(session.candidates).values() if p not in session.known]
        compilations = Compilations(session, workers, stop=lambda: self._sharing.adopts(session))
        with closing(compilations), trial():
            for _ in compilations.arrivals(sorted(positions)):
                pass

    @property
    def _waits_since(self) -> float:
        return self._clock() if self._began is None else self._began

    def tell(self) -> None:
        if self._began is not None:
            self._sharing._workers.tell_wait(self._session.label, self._clock() - self._began)


def _await_device() -> None:
    """Wait for all that this process has sent to its device."""
    with contextlib.suppress(Exception):  # there is none, or it has failed: the launch will say so
        drivers.device_interface(drivers.active()).synchronize()


def _nothing() -> None:
    """In the place of `Claim.advance`, where nobody waits."""
