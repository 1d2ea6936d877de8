"""What a launch does whose key this process does not know: the way of one session.

The caller's thread does all of it. Threads that meet the same kernel wait for the first, at the
autotuner's lock. The store is asked; a winner is adopted, else the file in which stock Triton keeps
results is taken over, else it goes as the policy for misses says (`launch.misses`): usually the
candidates that are not known are measured, and the winner is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...events.progress import Progress, Tuning
from ...phase import Phases
from ...policies import Policies
from ...resolution.journal import Journals
from ...resolution.resolver import Outcome
from ...system.claims import Claims
from ...tuning.terms import Terms
from ..compile.ahead import Ahead
from ..compile.compilations import await_binary
from ..compile.compile_errors import is_passed_over
from ..compile.listener import compile_seconds, trial
from ..compile.workers import Workers
from ..kernel import device_facts
from ..kernel.call import arguments_of, launch, view_of
from ..kernel.grid import extent
from ..kernel.identity import innermost
from ..kernel.session import Session
from ..measure.result import Result
from ..measure.tuner import reset, tune
from ..seams import autotuners, knobs, listeners
from . import outputs, report, stock_results, work_classes
from .deterministic import Deterministic, has_a_choice
from .exploration import Explorations
from .first_launches import begin_journal, close_journal, first_launch
from .misses import Misses
from .persistence import Persistence
from .recheck import Rechecker
from .sharing import Sharing
from .undecided import Undecided, clashes, says_nothing, undecided
from .usage import NoUsage, Usage

if TYPE_CHECKING:
    from ...replica.link import Link


class ColdPath:
    """The cold keys of one process."""

    def __init__(
        self,
        persistence: Persistence,
        workers: Workers,
        *,
        progress: Progress | None = None,
        rechecker: Rechecker | None = None,
        journals: Journals | None = None,
        phases: Phases | None = None,
        policies: Policies | None = None,
        usage: Usage | None = None,
        claims: Claims | None = None,
        apart: Sequence[str] = (),
        remote: Link | None = None,
    ) -> None:
        self._persistence = persistence
        self._events = persistence.events
        self._workers = workers
        self.skips_single_candidate = False
        """Whether stock does not benchmark when pruning leaves one candidate."""
        self._progress = progress or Progress(on=False)
        self._rechecker = rechecker
        self._journals = journals
        self._phases = phases or Phases()
        self._policies = policies or Policies()
        self._usage = usage or NoUsage()
        fixed = self._policies.deterministic
        self._deterministic = Deterministic(persistence, self._tell_known) if fixed else None
        self._undecided = Undecided(persistence, workers, compiles_all=not fixed)
        self.exploration = Explorations(
            persistence,
            workers,
            journals=journals,
            usage=usage,
            terms=Terms(share=self._policies.explore_share),
        )
        self._misses = Misses(
            persistence, self._phases, self._policies, explores=self.exploration.explores
        )
        self._classes = work_classes.WorkClasses(persistence, self._misses)
        self._sharing = Sharing(
            persistence, workers, self._phases, claims, apart=apart, remote=remote
        )
        self._ahead = Ahead(workers, persistence.resolver, persistence.events)

    # -- a launch ----------------------------------------------------------------------------

    def launch(self, session: Session) -> Any:
        """Find the winner, launch it and remember it; what Triton returns.

        Raises what Triton raises, and `KeyNotTuned`.
        """
        autotuner, stock_key = session.autotuner, session.stock_key
        adopted, why, is_new = False, None, False
        with session.state.lock:
            if is_new := not session.is_settled:  # another thread may have been here
                with arguments_of(autotuner, session.nargs):
                    session.candidates = autotuners.prune(autotuner, session.kwargs)
                    why = undecided(session)
                    if why is None and (fixed := self._fixed(session)) is not None:
                        return fixed.launch(session)
                    if why is None:
                        adopted = self._decide(session)
                        if device_facts.products() and session.is_settled:
                            session.state.ours[stock_key] = session.settled
        if why is not None:
            return self._undecided.launch(session, why)
        if session.exploring:
            if session.is_served:
                return self.exploration.launch_served(session, session.exploring[0])
            return self.exploration.launch(session, session.exploring)
        if not is_new:
            return self._launch_settled(session)
        if session.choices:
            result = self._misses.borrowing.launch(session)
        elif adopted:
            result = self._launch_adopted(session)
        else:
            result = _launch_winner(session)
        self._tell_usage(session, result)
        return result

    def _launch_settled(self, session: Session) -> Any:
        """What another thread has found out meanwhile."""
        classes = session.classes
        explored = None if classes is None else classes.exploring.get(session.class_name)
        if explored is None:
            return _launch_winner(session)
        return self.exploration.go_on(explored, extent(session.work), session.args, session.kwargs)

    def _tell_usage(self, session: Session, launched: Any) -> None:
        """This key is launched; `launched` is what Triton returned."""
        self._usage.launched(launched)
        question = session.question
        if question is not None and session.winner in session.candidates:
            winner = question.digests[session.position_of(session.winner)]
            verdict = question.key.verdict_name(question.work_class, question.digests)
            self._usage.met_key(question.label, verdict, winner)

    def _launch_adopted(self, session: Session) -> Any:
        """The first launch of a winner from the store, which may not run here.

        Triton's key leaves out what the author left out: a constant that decides whether a
        candidate fits. What a benchmark passes over must not end a launch: such a key is tuned here
        as stock would, and its winner is this process's own.
        """
        autotuner, args, kwargs = session.autotuner, session.args, session.kwargs
        config = session.settled
        if self._ahead.begun:
            await_binary(session, config, self._workers)
        compiled = compile_seconds()
        try:
            result = launch(autotuner, config, args, kwargs)
        except Exception as error:
            if not is_passed_over(error):
                raise
            self._events.emit("problem", what="winner_does_not_run", detail=f"{config}: {error}")
            if self._misses.replaces(session, config, error):
                return self._misses.borrowing.launch(session)
            self._tune_apart(session)
            result = launch(autotuner, session.settled, args, kwargs)
        if compile_seconds() > compiled:  # its binary is gone, and so may be those of others
            self._ahead.begin()
        session.remember()
        return result

    def capture(self, session: Session) -> Any:
        """A launch while a CUDA graph is captured: nothing may be measured or synchronised.

        The winner that the store knows is launched, else the first candidate, which is not
        remembered. No lock is waited for: the thread that holds it is measuring, which
        synchronises.
        """
        autotuner, args, kwargs = session.autotuner, session.args, session.kwargs
        view = view_of(autotuner, session.nargs)
        session.candidates = autotuners.prune(view, kwargs)
        if (why := undecided(session)) is not None:
            return self._undecided.launch(session, why)
        if (fixed := self._fixed(session)) is not None:
            return fixed.launch(session)
        if (before := work_classes.captured(session)) is not None:
            return launch(autotuner, before, args, kwargs)
        asked = replace(session, autotuner=view)
        self._persistence.ask(asked)
        self._persistence.report(asked)
        if work_classes.is_unmeasured(asked):
            config = work_classes.capture_unmeasured(session, asked.winner, self._events)
            return launch(autotuner, config, args, kwargs)
        session.settle(asked.winner)
        session.state.ours[session.stock_key] = asked.winner
        autotuners.set_timings(autotuner, asked.known_timings())
        self._tell_listener(session, duration=None)
        result = launch(autotuner, asked.winner, args, kwargs)
        self._tell_usage(asked, result)
        return result

    def _fixed(self, session: Session) -> Deterministic | None:
        """Who launches it, where nothing is measured. Triton raises what it raises where there is
        no candidate to launch."""
        if self._deterministic is not None and not has_a_choice(session):
            session.classes = None
            return None
        return self._deterministic

    # -- its key; the caller holds the autotuner's lock --------------------------------------

    def _decide(self, session: Session) -> bool:
        """Put the winner into the autotuner's cache. True: it is adopted, and nothing was run.

        Raises `KeyNotTuned`, and then the cache is as it was.
        """
        autotuner, stock_key = session.autotuner, session.stock_key
        if len(session.candidates) == 1 and self.skips_single_candidate:
            session.settle(session.candidates[0])
            return False
        if self._keeps_bits(session) if session.constant else self._finds(session):
            return True
        with self._sharing.turn(session) as advance:
            if session.winner is not None:  # of another process, which has tuned it meanwhile
                self._persistence.report(session)
                return self._adopt(session)
            self._tune(session, advance)
        self._misses.learn(session)
        duration = autotuners.tuning_seconds(autotuner) if session.measured else None
        self._tell_listener(session, duration=duration)
        autotuner.best_config = session.settled
        if session.measured and knobs.prints():
            print(
                f"Triton autotuning for function {autotuners.function(autotuner).__name__},\n"
                f"with key as {stock_key},\n"
                f"finished after {autotuners.tuning_seconds(autotuner):.2f}s,\n"
                f"best config selected: {autotuner.best_config};"
            )
        return False

    def _keeps_bits(self, session: Session) -> bool:
        """As `_finds`, where nothing may be launched whose bits were not seen at this key."""
        if not clashes(session) and not session.together:
            self._persistence.ask(session)
            self._persistence.report(session)
        if session.winner is not None:
            return self._adopt(session)
        if not self._misses.keeps_first(session):
            return False
        session.settle(session.winner)
        return True

    def _finds(self, session: Session) -> bool:
        """Whether there is something to launch that nothing is measured for now."""
        if self._classes.is_served(session):
            if session.resolution is not None:
                return self._adopt(session)
            if session.winner is not None:
                session.settle(session.winner)
            return True
        if not clashes(session) and not (session.together and says_nothing(session)):
            self._ask(session)
        if session.winner is not None and self._classes.is_to_be_measured(session):
            if session.exploring:
                return True
        elif session.winner is not None:
            if self._rechecker is not None and not _is_shared(session):
                self._rechecker.check(session)
            return self._adopt(session)
        elif self._classes.serves_another(session):
            session.settle(session.winner)
            return True
        elif self._misses.settles(session):
            if not session.exploring:  # else its own launches decide
                session.settle(session.winner)
            return True
        return False

    def _adopt(self, session: Session) -> bool:
        """Use the session's winner, which was not measured here. True: nothing was run."""
        autotuner = session.autotuner
        session.settle(session.winner)
        if not _is_shared(session):  # of a sibling's times none is this key's
            autotuners.set_timings(autotuner, session.known_timings())
            self._tell_listener(session, duration=None)
        self._misses.learn(session)
        return True

    def _ask(self, session: Session) -> None:
        """What the store knows, or else Triton's own file, or else siblings of the key."""
        self._persistence.ask(session)
        if session.winner is None and not session.together and self._sharing.has_come(session):
            self._persistence.ask(session)
        nothing = session.question is not None and not session.measurements
        if session.classes is not None and session.classes.winners:
            nothing = False  # that file knows no sizes
        if nothing and session.winner is None and not session.together:
            timings = stock_results.take_over(session)
            if timings:
                self._persistence.take_over(session, timings)
        self._misses.share(session)
        self._persistence.report(session)

    def _tune(self, session: Session, advance: Callable[[], None] = lambda: None) -> None:
        """Measure, record and publish; then the autotuner is as stock would leave it.

        `advance` is called as it goes on.
        """
        persistence, autotuner = self._persistence, session.autotuner
        with self._journal(session):
            if session.question is not None:
                self._ahead.begin()
                persistence.expect(session)
            spent_before = sum(measurement.seconds for measurement in session.known.values())
            with report.progress_line(session, self._progress) as line:
                self._measure(session, line, advance)
                tune_s = autotuners.tuning_seconds(autotuner) + spent_before
                persistence.publish(session, tune_s=tune_s)
        session.settle(session.winner)
        if session.measured:
            reset(session)
        autotuners.set_timings(autotuner, session.timings)
        if session.measured:
            stock_results.keep(session)
        persistence.keep_variants(session)
        if session.measured:
            with persistence.guarded("tell"):
                report.tell_tuned(self._events, session)
                outputs.tell(self._events, session)

    def _tune_apart(self, session: Session) -> None:
        """Tune a key whose stored winner does not run here, for this process alone."""
        with session.state.lock, arguments_of(session.autotuner, session.nargs):
            apart = Session(
                session.autotuner,
                session.state,
                session.stock_key,
                session.nargs,
                session.args,
                session.kwargs,
                session.own_benchmark,
                session.together,
                autotuners.prune(session.autotuner, session.kwargs),
                session.classes,
                session.numerics,
                session.look_share,
            )
            self._tune(apart)

    @contextmanager
    def _journal(self, session: Session) -> Iterator[None]:
        begin_journal(session, self._journals, self._persistence)
        try:
            yield
        finally:
            close_journal(session)

    def _measure(self, session: Session, line: Tuning, advance: Callable[[], None]) -> None:
        told: set[int] = set()

        def on_result(position: int, result: Result) -> None:
            line.looked(position)
            if result.settled and position not in told:  # one may turn out wrong once all are done
                told.add(position)
                report.tell_measured(self._events, session, position, result)
            self._persistence.record(session, position, result)

        def on_compiled(position: int, seconds: float) -> None:  # workers tell of it
            advance()
            line.compiled(position)

        with trial():
            tune(
                session,
                self._workers,
                on_result=on_result,
                on_compiled=on_compiled,
                launching=lambda position: first_launch(session, position),
                advance=advance,
                on_look_error=self._tell_look_error,
            )

    def _tell_look_error(self, error: Exception) -> None:
        with self._persistence.guarded("look"):
            raise error

    def _tell_known(self, session: Session) -> None:
        self._tell_listener(session, duration=None)

    @staticmethod
    def _tell_listener(session: Session, *, duration: float | None) -> None:
        """Call Triton's autotune listener; `duration` in seconds, None for what was known."""
        listener = listeners.of_autotuner()
        if listener is not None:
            autotuner, stock_key = session.autotuner, session.stock_key
            kernel, winner = innermost(autotuner.fn), session.settled
            timings = autotuners.timings(autotuner)
            listeners.tell_of_tuning(listener, kernel, stock_key, winner, timings, duration)


def _is_shared(session: Session) -> bool:
    return session.resolution is not None and session.resolution.outcome is Outcome.SHARED


def _launch_winner(session: Session) -> Any:
    session.remember()
    return launch(session.autotuner, session.settled, session.args, session.kwargs)
