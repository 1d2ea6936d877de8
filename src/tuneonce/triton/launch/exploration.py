"""Keys whose traffic tunes them: what their launches do, and what is done beside.

The first launch of a key runs a candidate that is at hand and returns. From then on a thread has
the other candidates compiled by other processes and loads them, and each launch runs one candidate,
once (`tuning.exploration` says which), between two events that are read at later launches. So a
kernel that changes its arguments stays right, and nobody waits. The thread judges what has come,
writes it down and publishes the verdict.

Launches do no I/O here and wait for no lock: where another thread has it, the candidate that serves
runs, untimed. In a capture, and on another device than the first launch was on, it runs untimed,
too.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...resolution.journal import Journals
from ...resolution.resolver import Outcome
from ...system.background import Background
from ...system.forks import renew_in_child
from ...system.greenlets import patched_by
from ...system.ranks import is_a_rank
from ...system.slices import hurried, in_slices
from ...tuning.terms import TERMS, Choice, Terms, Verdict
from ..compile.compile_errors import is_passed_over
from ..compile.supply import Arrival, Arrived, Supply, has_binary
from ..compile.workers import Workers
from ..kernel import device_facts
from ..kernel.call import launch, launch_entry
from ..kernel.session import Session
from ..measure.launch_events import Begun, LaunchEvents, tells_times
from ..measure.tuner import distinct
from ..seams import autotuners, drivers
from .explored_key import ExploredKey
from .first_launches import begin_journal, close_journal, first_launch
from .persistence import Persistence
from .report import candidate_text, key_fields
from .undecided import clashes
from .usage import NoUsage, Usage

logger = logging.getLogger("tuneonce")

# What is known is written down so often, in seconds. Arbitrary.
_RECORDED_EVERY_S = 5.0
# A launch reads the times of so many: more than it adds itself.
_READ = 2
# A launch that has failed waits so long for the lock, which is held for milliseconds. Arbitrary; a
# signal handler may launch in the middle of a launch.
_PATIENCE_S = 1.0
# The thread asks for the lock so often, in seconds. Arbitrary: a launch holds it for microseconds.
_ASKED_EVERY_S = 0.0001
# A first launch looks for a candidate whose binary is there for so long, in seconds. Arbitrary:
# asking for one takes half a millisecond.
_AT_HAND_S = 0.005


class Explorations:
    """The explored keys of one process."""

    def __init__(
        self,
        persistence: Persistence,
        workers: Workers,
        *,
        journals: Journals | None = None,
        usage: Usage | None = None,
        terms: Terms = TERMS,
    ) -> None:
        self._persistence, self._workers, self._journals = persistence, workers, journals
        self._usage = usage or NoUsage()
        self._terms = terms
        self._events = LaunchEvents[tuple[ExploredKey, Choice]]()
        self._background = Background[ExploredKey](
            self._turn,
            name="tuneonce-explore",
            on_error=self._give_up,
            rank=lambda explored: explored.exploration.device_ms,
        )
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, which begins anew."""
        self._lock = threading.Lock()
        self._keys: set[ExploredKey] = set()
        self._recorded_at: dict[ExploredKey, float] = {}

    # -- launches ----------------------------------------------------------------------------

    def explores(self, session: Session) -> bool:
        """Whether a key can be tuned by its traffic.

        Not in one of several ranks: two of them would run two candidates of one launch, and what
        they compute alike would differ in the last bits.
        """
        return (
            not session.own_benchmark
            and not session.together
            and len(distinct(session.candidates)) > 1
            and not clashes(session)
            and patched_by() is None
            and not is_a_rank()
            and tells_times(session.autotuner)
        )

    def launch(self, session: Session, order: Sequence[int] | None = None) -> Any:
        """The first launch of a key; what Triton returns. Raises what Triton raises.

        `order`: positions, the best to begin with first; found here if it is None. The caller holds
        no lock.
        """
        autotuner, args, kwargs = session.autotuner, session.args, session.kwargs
        failed: dict[int, str] = {}
        begin_journal(session, self._journals, self._persistence)
        for position in self._order(session) if order is None else order:
            try:
                with first_launch(session, position):
                    result = launch(autotuner, session.candidates[position], args, kwargs)
            except Exception as error:
                if not is_passed_over(error):
                    close_journal(session)
                    raise
                failed[position] = f"{type(error).__name__}: {error}"
                continue
            with self._persistence.guarded("explore"):
                self._begin(session, position, failed, result)
            return result
        close_journal(session)
        return launch(autotuner, session.candidates[0], args, kwargs)  # it says what is wrong

    def launch_served(self, session: Session, position: int) -> Any:
        """The first launch of a work class whose key is known: another class's winner runs.

        What the store knows of the class is asked beside the launches.
        """
        autotuner, args, kwargs = session.autotuner, session.args, session.kwargs
        try:
            result = launch(autotuner, session.candidates[position], args, kwargs)
        except Exception as error:
            if not is_passed_over(error):
                raise
            return self.launch(session)
        with self._persistence.guarded("explore"):
            self._begin(session, position, {}, result)
        return result

    def go_on(
        self, explored: ExploredKey, size: int | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A later launch, of `size` programs; what Triton returns. Raises what Triton raises."""
        autotuner, exploration = explored.session.autotuner, explored.exploration
        choice: Choice | None = None
        begun: Begun | None = None
        if not device_facts.capturing():
            choice, begun = self._choose(explored, size)
        position = exploration.incumbent if choice is None else choice.position
        try:
            result = launch_entry(autotuner, explored.entry_of(position), args, kwargs)
        except BaseException as error:
            if begun is not None:
                explored.lane.give_back(begun)
            if choice is not None:
                self._change(lambda: exploration.lose(choice))
            if not isinstance(error, Exception) or not is_passed_over(error):
                raise
            if not self._leave_out(explored, position, error):
                raise
        else:
            if begun is not None and choice is not None:
                explored.lane.end(begun, (explored, choice))
                if position not in explored.results:
                    explored.results[position] = result
            return result
        return self.go_on(explored, size, args, kwargs)  # one candidate fewer

    def _choose(
        self, explored: ExploredKey, size: int | None
    ) -> tuple[Choice | None, Begun | None]:
        """What to run, and the events around it."""
        if not self._lock.acquire(blocking=False):
            return None, None
        try:
            if explored.ended or drivers.current_device() != explored.device:
                return None, None
            lane, exploration = explored.lane, explored.exploration
            for _ in range(_READ):
                finished = lane.finished()
                if finished is None:
                    break
                (other, timed), ms = finished
                other.exploration.observe(timed, ms)
                if other is not explored and other.exploration.due:
                    self._wake(other)
            choice = exploration.choose(size)
            if exploration.due:
                self._wake(explored)
            if choice.position not in explored.results:
                explored.name(choice.position)
            if not choice.timed:
                return choice, None
            begun = lane.begin()
            if begun is None:
                exploration.lose(choice)
                return None, None
            return choice, begun
        except Exception as error:
            if self._persistence.raise_errors:
                raise
            self._give_up(explored, error)
            return None, None
        finally:
            self._lock.release()

    def _wake(self, explored: ExploredKey) -> None:
        """Have the thread judge it. Once: where the program keeps the interpreter, the thread has
        its turn after hundreds of launches, which would all wake it."""
        if not explored.is_awake:
            explored.exploration.due = False  # until there is more
            explored.is_awake = True  # before: its turn may be over when `wake` returns
            if not self._background.wake(explored):
                self._give_up(explored, RuntimeError("no thread can be started"))

    def _leave_out(self, explored: ExploredKey, position: int, error: Exception) -> bool:
        """A candidate cannot run. False: nor can any other."""
        exploration = explored.exploration
        explored.failed[position] = f"{type(error).__name__}: {error}"
        if not self._change(lambda: exploration.fail(position)):
            return False
        self._background.wake(explored)
        return exploration.incumbent not in exploration.failed

    def _change(self, change: Callable[[], None]) -> bool:
        """Have a launch that has failed say so. False: not now, another one is stuck in there."""
        if not self._lock.acquire(timeout=_PATIENCE_S):
            return False
        try:
            change()
        finally:
            self._lock.release()
        return True

    def _order(self, session: Session) -> list[int]:
        """All that may run, a candidate whose binary is there first, of these the best known."""
        known = session.known
        positions = sorted(distinct(session.candidates).values())
        live = [p for p in positions if p not in known or known[p].failed is None] or positions
        live.sort(key=lambda p: known[p].times[0] if p in known and known[p].times else 0.0)
        until = time.perf_counter() + _AT_HAND_S
        for position in live:
            if self._is_there(session, position):
                return [position, *(p for p in live if p != position)]
            if time.perf_counter() > until:
                break
        return live

    def _is_there(self, session: Session, position: int) -> bool:
        try:
            return has_binary(session, session.candidates[position])
        except Exception:  # the launch will say what is wrong
            return False

    # -- beside launches ---------------------------------------------------------------------

    def _begin(self, session: Session, first: int, failed: dict[int, str], result: Any) -> None:
        device = drivers.current_device()
        explored = ExploredKey(
            session, first, failed, device=device, lane=self._events.of(device), terms=self._terms
        )
        explored.results[first] = result
        assert session.classes is not None
        explored.name_of_class = session.class_name
        if session.classes.exploring.setdefault(session.class_name, explored) is not explored:
            explored.end()  # another thread was first
            return
        self._keys.add(explored)
        explored.name(first)  # its launch has not come back yet
        if not self._background.wake(explored):
            self._give_up(explored, RuntimeError("no thread can be started"))
            self._end(explored)

    def _turn(self, explored: ExploredKey) -> float | None:
        """One piece of work for a key; when the next is wanted, if nothing happens until then."""
        explored.is_awake = False  # first: what comes from now on may be too late for this turn
        if explored.ended:
            return None
        if explored.overruled:
            self._end(explored)
            return None
        supply = explored.supply
        if supply is None:
            with in_slices():
                supply = self._start(explored)
        with self._beside_launches():  # one may name the next one just now
            named = explored.unname()
        again = None
        if self._background.is_pressed:  # others have launches to judge, which is quickly done
            again = 0.0 if supply.may_settle or supply.may_begin else None
        else:
            for arrived in supply.settled():
                self._arrive(explored, arrived)
            if supply.may_begin:
                for arrived in supply.begin():
                    self._arrive(explored, arrived)
                again = 0.0 if supply.may_begin else None
        if explored.ended:
            return None
        if explored.supply is None:  # the store's winner does not run here
            return 0.0
        with self._beside_launches():
            verdict = explored.exploration.decide()
            more = explored.wanted() if verdict is None and explored.answer is None else []
        if verdict is not None:
            self._conclude(explored, verdict)
            return None
        if more:
            supply.add(more)
            again = 0.0
        self._record_now_and_then(explored)
        return named if again is None else again

    @contextlib.contextmanager
    def _beside_launches(self) -> Iterator[None]:
        """The lock, for the thread, which does not wait for it but asks again.

        Who waits for a lock is given it before the interpreter, and for as long as a program keeps
        that, five milliseconds, its launches would find the lock taken: on two cores, with the
        simulated GPU, one of five did.
        """
        while not self._lock.acquire(blocking=False):
            time.sleep(_ASKED_EVERY_S)
        try:
            with hurried():  # launches that find it taken are not timed
                yield
        finally:
            self._lock.release()

    def _start(self, explored: ExploredKey) -> Supply:
        """Begin to have candidates compiled; or to load the winner, if the store has one."""
        session, persistence = explored.session, self._persistence
        if session.is_served:
            session.is_served = False
            explored.answer = self._answer(explored)
        if explored.answer is None:
            persistence.events.emit(
                "explore",
                what="begin",
                **key_fields(session),
                candidates=len(explored.exploration.candidates),
                known=len(session.known),
            )
            persistence.expect(session)
            with self._beside_launches():
                explored.hold_back()
        explored.supply = Supply(
            session,
            self._workers,
            explored.wanted() if explored.answer is None else [explored.answer],
            device=explored.device,
            wake=lambda: self._background.wake(explored),
        )
        return explored.supply

    def _answer(self, explored: ExploredKey) -> int | None:
        """Ask the store for a class that another class's winner serves meanwhile."""
        session, persistence = explored.session, self._persistence
        if session.question is None:
            return None
        persistence.ask(session)
        persistence.report(session)
        resolution = session.resolution
        if resolution is not None and resolution.outcome is Outcome.HIT:
            return session.position_of(session.winner)
        if resolution is not None and resolution.outcome is Outcome.PROVISIONAL:
            session.measurements = dict(resolution.here)
        self._learn(explored)
        return None

    def _learn(self, explored: ExploredKey) -> None:
        """Its launches are to find its winner, beginning with what the store knows."""
        explored.session.winner = None
        begin_journal(explored.session, self._journals, self._persistence)
        with self._beside_launches():
            explored.learn()

    def _take_answer(self, explored: ExploredKey, arrival: Arrival) -> None:
        """The store's winner has been loaded, so that no launch compiles or loads it; or it does
        not run here, and the class is explored."""
        explored.answer = None
        if arrival is Arrival.LOADED:
            self._settle(explored, explored.session.winner)
            self._tell_usage(explored)
            self._end(explored)
        else:
            self._learn(explored)
            explored.supply = None

    def _settle(self, explored: ExploredKey, winner: Any) -> None:
        """From now on launches of this class run it, unless the program has decided."""
        session, classes = explored.session, explored.session.classes
        if explored.overruled or classes is None:
            return
        if device_facts.products():
            session.state.ours[session.stock_key] = winner
        classes.decide(explored.name_of_class, winner)
        session.learn_class(winner)
        classes.offer(session.autotuner.cache, winner)

    def _arrive(self, explored: ExploredKey, arrived: Arrived) -> None:
        position, arrival, why = arrived
        is_answer = position == explored.answer
        with self._beside_launches():
            if arrival is Arrival.LOADED:
                explored.exploration.available(position)
            elif arrival is Arrival.FAILED:
                explored.failed[position] = why
                explored.exploration.fail(position)
            else:
                explored.not_had.add(position)
                explored.exploration.missing(position)
        if is_answer:
            self._take_answer(explored, arrival)

    def _record_now_and_then(self, explored: ExploredKey) -> None:
        now = time.monotonic()
        if now - self._recorded_at.get(explored, 0.0) >= _RECORDED_EVERY_S:
            self._recorded_at[explored] = now
            self._record(explored, all_of_them=False)

    def _record(self, explored: ExploredKey, *, all_of_them: bool) -> None:
        # Bounded: the program may end in a signal handler, in the middle of a launch.
        if not self._lock.acquire(timeout=_PATIENCE_S):
            return
        try:
            summaries = explored.exploration.summaries()
        finally:
            self._lock.release()
        explored.record(self._persistence, summaries, all_of_them=all_of_them)

    def _conclude(self, explored: ExploredKey, verdict: Verdict) -> None:
        """There is a winner: publish it, and have all launches from now on run it."""
        session, persistence = explored.session, self._persistence
        session.winner = explored.candidates[verdict.winner]
        self._record(explored, all_of_them=True)
        tried = set(explored.exploration.candidates) - verdict.untried - verdict.failed
        tried -= verdict.held_back
        # What nobody could compile beside the launches may be faster than all that was tried.
        if len(tried) > 1 and not verdict.untried & explored.not_had:
            persistence.publish(session, tune_s=verdict.excess_ms / 1000, origin="explored")
            persistence.keep_variants(session)
        if not explored.overruled:
            autotuners.set_timings(session.autotuner, session.known_timings())
            self._settle(explored, session.winner)
        self._tell_usage(explored)
        persistence.events.emit(
            "explore",
            what="verdict",
            **key_fields(session),
            **explored.about(verdict, candidate_text),
        )
        self._end(explored)

    def _tell_usage(self, explored: ExploredKey) -> None:
        session = explored.session
        position = session.position_of(session.winner)
        if position in explored.results:
            self._usage.launched(explored.results[position])
        if (question := session.question) is not None:
            verdict = question.key.verdict_name(question.work_class, question.digests)
            self._usage.met_key(question.label, verdict, question.digests[position])

    def _give_up(self, explored: ExploredKey, error: Exception) -> None:
        """An error of ours: from now on the candidate that serves is the one that runs."""
        session = explored.session
        self._persistence.events.emit("problem", what="internal_explore", detail=repr(error))
        logger.warning("tuneonce: internal error in explore, %s: %r", session.label, error)
        self._settle(explored, explored.candidates[explored.exploration.incumbent])
        explored.ended = True

    def _end(self, explored: ExploredKey) -> None:
        explored.end()
        self._background.forget(explored)
        self._keys.discard(explored)
        self._recorded_at.pop(explored, None)

    def close(self) -> None:
        """Write down what is known, and end."""
        for explored in list(self._keys):
            with self._persistence.guarded("explore"):
                self._record(explored, all_of_them=True)
            self._end(explored)
