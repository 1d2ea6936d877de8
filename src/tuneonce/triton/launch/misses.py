"""What a launch does whose key has no verdict: it is tuned, or the process's policy says otherwise.

Keys that never stop (`tuning.siblings`) share a verdict under every policy. Where launches of
several ranks benchmark together, and where the program's own error is to come, all is as with
`tune`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import KeyNotTuned
from ...model.key import compare
from ...model.wording import difference_text, kernel_name, tuning, tuning_text
from ...phase import Phase, Phases
from ...policies import ON_MISS, OnMiss, Policies
from ...resolution.resolver import Outcome, Question, Resolution
from ...tuning.siblings import Endless, Sibling, Siblings, adapted, times_of
from ..kernel.session import Session
from .borrowing import Borrowing
from .persistence import Persistence
from .report import key_text
from .undecided import clashes

logger = logging.getLogger("tuneonce")


class Misses:
    """The misses of one process."""

    def __init__(
        self,
        persistence: Persistence,
        phases: Phases,
        policies: Policies,
        *,
        explores: Callable[[Session], bool] = lambda session: False,
    ) -> None:
        """`explores`: whether a key can be tuned by its own launches."""
        self._persistence = persistence
        self._phases = phases
        self._policies = policies
        self._explores = explores
        self.borrowing = Borrowing(persistence)

    @property
    def policy(self) -> OnMiss:
        """What a miss does now."""
        return self._policies.on_miss(self._phases.now)

    def tunes(self, session: Session) -> bool:
        """Whether a miss measures its candidates before it launches one."""
        return self.policy is OnMiss.TUNE or session.together or clashes(session)

    def only_serves(self, session: Session) -> bool:
        """Whether it is somebody's request, in which no miss measures anything."""
        return self._phases.now is Phase.SERVING and not self.tunes(session)

    def explores(self, session: Session) -> bool:
        """Whether the launches of a miss find out what it runs."""
        if self.policy is not OnMiss.EXPLORE or session.together or clashes(session):
            return False
        return self._explores(session)

    def settles(self, session: Session) -> bool:
        """Whether the miss is dealt with, so that nothing is to be tuned.

        Then the session has a winner, and `choices`; or `exploring`, where its own launches are to
        tune it. The caller holds the autotuner's lock. Raises
        `KeyNotTuned`, and nothing else.
        """
        policy = self.policy
        if policy is OnMiss.TUNE or not session.candidates or session.together or clashes(session):
            return False
        if len(session.candidates) == 1:
            session.choices = list(session.candidates)
            session.winner = session.choices[0]
            return True
        near: Sequence[Sibling] = ()
        endless = False
        with self._persistence.guarded("near"):
            near, endless = self._near(session), self._is_endless(session)
        if policy is OnMiss.ERROR:
            raise self._refusal(session, near)
        if policy is OnMiss.EXPLORE and not endless:
            if self._explores(session):
                session.exploring = self.borrowing.order(session, near)
                return True
            if not near:  # the first of a list could be far behind, for as long as it serves
                return False
        self.borrowing.choose(session, near, wanted=not endless)
        return True

    def keeps_first(self, session: Session) -> bool:
        """Whether the first candidate that runs is launched, of a key with constant bits.

        Whatever a near key runs has bits that nobody has seen at this one. The caller holds the
        autotuner's lock. Raises `KeyNotTuned`, and nothing else.
        """
        if self.tunes(session) or not session.candidates:
            return False
        if self.policy is OnMiss.ERROR:
            raise self._refusal(session, ())
        known = session.known
        failed = {i for i, one in known.items() if one.failed is not None}
        runs = [c for i, c in enumerate(session.candidates) if i not in failed]
        session.choices = runs or list(session.candidates)
        session.winner = session.choices[0]
        self.borrowing.want(session)
        return True

    def replaces(self, session: Session, winner: Any, error: Exception) -> bool:
        """Whether another candidate is to be launched for a stored winner that does not run.

        Then the session has `choices`. Raises `KeyNotTuned` where the policy is to raise.
        """
        policy = self.policy
        if policy is OnMiss.ERROR:
            why = f"a verdict whose winner does not run here ({error})"
            raise self._refusal(session, (), why) from error
        if policy is OnMiss.TUNE or len(session.candidates) < 2:
            return False
        if session.constant:
            session.choices = list(session.candidates)
        else:
            self.borrowing.choose(session, (), wanted=False)
        for choices in (session.choices, session.candidates):  # the others may be known to fail
            session.choices = [config for config in choices if config is not winner]
            if session.choices:
                break
        session.winner = session.choices[0]
        return True

    # -- siblings ----------------------------------------------------------------------------

    def share(self, session: Session) -> None:
        """Give a key that never stops the verdict of its nearest sibling, where siblings agree.

        The caller holds the autotuner's lock. Raises nothing.
        """
        question = session.question
        if question is None or session.winner is not None or session.together:
            return
        with self._persistence.guarded("share"):
            parts, known = question.key.parts, self._siblings(session, question)
            if (endless := known.meet(parts)) is not None:
                self._say(session, endless)
            if not known.is_endless(parts):
                return
            found = known.share(parts, question.work_class, _live(session, question))
            if found is not None:
                shared = Resolution(
                    Outcome.SHARED, found.winner, session.measurements, "key_never_stops"
                )
                session.resolve(question, shared)

    def learn(self, session: Session) -> None:
        """Remember a key that is measured, as a sibling of those to come. Raises nothing."""
        question, resolution = session.question, session.resolution
        if question is None or resolution is None or session.together or session.winner is None:
            return
        if resolution.outcome in (Outcome.PROVISIONAL, Outcome.SHARED):
            return
        with self._persistence.guarded("learn"):
            winner = question.digests[session.position_of(session.winner)]
            times = times_of(session.measurements.values())
            if winner in times:
                sibling = Sibling(question.key.parts, question.work_class, winner, times)
                session.state.siblings.learn(sibling)

    def _near(self, session: Session) -> Sequence[Sibling]:
        """The nearest keys, over what may be launched: of this world, or else of others."""
        question = session.question
        if question is None:
            return ()
        live = _live(session, question)
        known = self._siblings(session, question)
        here = known.nearest(question.key.parts, question.work_class, live)
        if here:
            return here
        return adapted(self._persistence.resolver.elsewhere(question), live)

    def _siblings(self, session: Session, question: Question) -> Siblings:
        """Those that this process knows; the store is asked once for each kernel and world."""
        known = session.state.siblings
        world = question.key.directory.rpartition("/")[0]
        if world not in known.read:
            known.read.add(world)
            for sibling in self._persistence.resolver.siblings(question):
                known.learn(sibling)
        return known

    @staticmethod
    def _is_endless(session: Session) -> bool:
        question = session.question
        return question is not None and session.state.siblings.is_endless(question.key.parts)

    def _say(self, session: Session, endless: Endless) -> None:
        label, argument, count = session.label, endless.argument, endless.count
        self._persistence.events.emit(
            "problem",
            what="key_never_stops",
            detail=f"{label}: {count} keys differ in {argument} alone",
            kernel=label,
            argument=argument,
            count=count,
        )
        logger.warning(
            "tuneonce: %s: %d keys so far differ in nothing but %s, which is in key=. From now on "
            "such keys use the verdict of the nearest one while neighbours agree; few are tuned",
            label,
            count,
            argument,
        )

    # -- the policy `error` ------------------------------------------------------------------

    def _refusal(
        self, session: Session, near: Sequence[Sibling], why: str | None = None
    ) -> KeyNotTuned:
        label, key, phase = session.label, key_text(session), self._phases.now.value
        nearest: str | None = None
        differences: tuple[str, ...] = ()
        question = session.question
        with self._persistence.guarded("refuse"):
            self._persistence.events.emit("problem", what="key_not_tuned", detail=f"{label} {key}")
            if near and question is not None:
                nearest = tuning_text(tuning(near[0].parts))
                found = compare(question.key.parts, near[0].parts)
                differences = tuple(difference_text(one) for one in found)
        if why is None:
            why = _why(session)
        beside = "no record of this kernel is of use here"
        if nearest is not None:
            told = "; ".join(differences) or "the size of the launch"
            beside = f"the nearest record, {nearest}, differs: {told}"
        return KeyNotTuned(
            f"{label} {key} has {why}, and {ON_MISS[phase]}=error; {beside}. "
            f"`tuneonce tune SCRIPT` measures what a program launches; "
            f"`tuneonce why {kernel_name(label)}` compares records.",
            kernel=label,
            key=key,
            phase=phase,
            nearest=nearest,
            differences=differences,
        )


def _live(session: Session, question: Question) -> list[str]:
    """The candidates that are not known to fail."""
    measured = session.measurements
    return [d for d in question.digests if d not in measured or measured[d].failed is None]


def _why(session: Session) -> str:
    if session.question is None:
        return "no verdict, because it cannot be kept (`tuneonce stats` says why)"
    measured = len(session.known)
    if measured:
        return f"no verdict, {measured} of {len(session.candidates)} candidates are measured"
    return "no verdict"
