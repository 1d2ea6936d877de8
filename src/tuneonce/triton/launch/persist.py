"""Between one autotuner's miss and the resolver: asks, records and publishes, and never raises.

An error of ours costs the benefit, not the launch: the kernel is then tuned as stock Triton would,
and the statistics say why. With ``TUNEONCE_RAISE=1`` the error is raised instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import msgspec

from ...events.log import EventLog
from ...model.codec import Unencodable, digest
from ...model.key import KernelId, Key
from ...model.key import work_class as class_of
from ...model.records import Measurement, Variants
from ...resolution.journal import Journal
from ...resolution.resolver import Outcome, Question, Resolution, Resolver
from ...system.threads import BoundedCalls, Overdue
from ...tuning.priors import Prior
from ..compile.variants import Variant, split
from ..kernel import device_facts
from ..kernel.call import Cold
from ..kernel.candidates import candidates_of
from ..kernel.grid import programs
from ..kernel.identity import NoIdentity, innermost, kernel_id, name_of
from ..kernel.tuning_key import tuning_key
from ..measure.benchmark import own_benchmark
from ..measure.result import Broken, Taken, as_measurement

logger = logging.getLogger("tuneonce")

# A part of the tuning key. No argument of a kernel has such a name.
_OWN_BENCHMARK = ("do_bench()", ["str", "own"])


T = TypeVar("T")

# A launch waits so long for its verdict to be stored, to use that of another process that was
# first: a disk takes some milliseconds. Whoever ends waits longer, since who comes next would have
# to find the results in the journal. Both arbitrary.
_STORED_WITHIN_S, _AT_THE_END_S = 0.05, 5.0


@dataclass(frozen=True)
class Persistence:
    """What the hook needs of one process: the resolver, the events, whether errors are raised.

    `background`, if any, makes the calls that keep something in the store.
    """

    resolver: Resolver
    events: EventLog
    raise_errors: bool = False
    background: BoundedCalls | None = None

    def keep(
        self, what: str, call: Callable[[], T], *, meanwhile: T, wait_s: float = _STORED_WITHIN_S
    ) -> T:
        """What `call` returns; `meanwhile` where it fails, or has not come back by `wait_s`.

        It goes on in the background then.
        """

        def guarded() -> T:
            with self.guarded(what):
                return call()
            return meanwhile

        if self.background is None:
            return guarded()
        try:
            return self.background(guarded, wait_s)
        except Overdue:
            return meanwhile

    def finish(self) -> None:
        """Wait, for a while, until the store has what it was given."""
        if self.background is not None:
            self.background.wait(_AT_THE_END_S)

    @contextlib.contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """Swallow and count an internal error, unless errors are to be raised."""
        try:
            yield
        except Exception as error:
            if self.raise_errors:
                raise
            self.events.emit("problem", what=f"internal_{what}", detail=repr(error))
            logger.warning("tuneonce: internal error in %s, going on as stock: %r", what, error)

    def ask(self, cold: Cold, autotuner: Any, pruned: Sequence[Any]) -> Asked | None:
        """Resolve one key. None: it cannot be persisted, which is counted with its reason.

        `autotuner` is the real one, or a view of it.
        """
        if cold.state.identity is None:
            cold.state.identity = identify(autotuner)
        identity = cold.state.identity
        asked: Asked | None = None
        reason, label = "internal_error", name_of(autotuner.fn)
        with self.guarded("resolve"):
            try:
                if isinstance(identity, NoIdentity):
                    raise identity
                question = _question(autotuner, cold.nargs, cold.kwargs, pruned, identity)
                resolution = self.resolver.resolve(question)
                if resolution.reason == "assembled":
                    settle = partial(self.resolver.settle, question, resolution)
                    resolution = self.keep("settle", settle, meanwhile=resolution)
                if cold.together:  # what is known is not for this process; what it finds is kept
                    resolution = Resolution(Outcome.MISS, reason="benchmark_of_ranks")
                asked = Asked(self, question, resolution, pruned, autotuner)
            except NoIdentity as error:
                reason = error.reason
            except Unencodable as error:
                reason = f"not_encodable:{error.type_name}"
        if asked is None:
            self.events.emit(
                "resolve", kernel=label, outcome="not_persisted", reason=reason, saved_s=0.0
            )
        return asked


def identify(autotuner: Any) -> KernelId | NoIdentity:
    """The kernel of an autotuner, or why it has no identity."""
    try:
        return kernel_id(autotuner.fn)
    except NoIdentity as error:
        return error
    except Exception as error:  # a kernel whose globals or source do strange things when looked at
        return NoIdentity("identity_failed", repr(error))


def _question(
    autotuner: Any,
    nargs: Mapping[str, Any],
    kwargs: Mapping[str, Any],
    pruned: Sequence[Any],
    identity: KernelId,
) -> Question:
    arguments = {k: v for k, v in {**nargs, **kwargs}.items() if k in autotuner.arg_names}
    tuning = tuning_key(autotuner.arg_names, autotuner.keys, arguments)
    if own_benchmark(autotuner):  # it may find another order, so neither answers for the other
        tuning = (*tuning, _OWN_BENCHMARK)
    interpreted = type(innermost(autotuner.fn)).__name__ == "InterpretedFunction"
    world = device_facts.current_world(interpreted=interpreted)
    size = programs(autotuner, nargs, kwargs)
    return Question(
        key=Key(identity, tuning, world.parts, world.name),
        work_class=class_of(size),
        programs=size,
        candidates=candidates_of(pruned),
        about=world.about,
    )


class Asked:
    """One resolved key: what is known, and where to put what is learned."""

    def __init__(
        self,
        persistence: Persistence,
        question: Question,
        resolution: Resolution,
        pruned: Sequence[Any],
        autotuner: Any,
    ) -> None:
        self._persistence = persistence
        self._question = question
        self._digests = question.digests
        self._pruned = pruned
        self.own_method = "kernel's own do_bench" if own_benchmark(autotuner) else None
        self._known = dict(resolution.known)
        self.resolution = resolution
        self.journal: Journal | None = None
        """Where measurements are kept while it is tuned."""

    @property
    def question(self) -> Question:
        return self._question

    @property
    def label(self) -> str:
        return self._question.label

    @property
    def world(self) -> str:
        """A digest of where what is measured now holds."""
        return digest([list(part) for part in self._question.key.world])

    def report(self) -> None:
        """Tell the events how this key was resolved."""
        with self._persistence.guarded("report"):
            self._persistence.resolver.report(self._question, self.resolution)

    @property
    def winner(self) -> Any | None:
        """The live candidate to run without measuring; None on a miss."""
        digest = self.resolution.winner
        return None if digest is None else self._live(digest)

    @property
    def seed(self) -> int:
        return self._question.seed

    @property
    def known(self) -> dict[int, Measurement]:
        """The usable measurements by position in the live list."""
        return {i: self._known[d] for i, d in enumerate(self._digests) if d in self._known}

    def timings(self) -> dict[Any, Any]:
        """``configs_timings`` from what is known, in the live list's order."""
        return {self._pruned[i]: m.as_timing() for i, m in self.known.items()}

    def taken(self, position: int, taken: Taken) -> None:
        """Keep one candidate's result."""
        with self._persistence.guarded("record"):
            candidate = self._question.candidates[position]
            measurement = as_measurement(
                taken,
                candidate=candidate.digest,
                config=candidate.config,
                method=self.own_method or ("race" if taken.samples else "do_bench"),
                work_class=self._question.work_class,
            )
            if measurement is None:
                if not isinstance(taken.result, Broken):  # else the program hears of its error
                    self._persistence.events.emit(
                        "problem", what="benchmark_gave_no_time", detail=self.label
                    )
                return
            self._known[candidate.digest] = measurement
            if self.journal is not None:
                self._note(self.journal, measurement)

    def _note(self, journal: Journal, measurement: Measurement) -> None:
        keyed = msgspec.structs.replace(measurement, key=self._question.key.digest)
        try:
            journal.record(keyed)
        except ValueError as error:
            detail = f"{self.label}: {error}"
            self._persistence.events.emit("problem", what="not_storable", detail=detail)

    def leave_out(self, digest: str, why: str) -> bool:
        """Keep that a candidate cannot run. False: it is no live one, or is known."""
        if digest not in self._digests or digest in self._known:
            return False
        position = self._digests.index(digest)
        self.taken(position, Taken([math.inf] * 3, failed=why))
        return digest in self._known

    def prior(self) -> Prior[int]:
        """What verdicts that do not hold here let expect of the candidates, by position."""
        with self._persistence.guarded("expect"):
            return self._persistence.resolver.expected(self._question)
        return Prior()

    def keep_variants(self, found: Mapping[int, Variant]) -> None:
        """Keep what the candidates were compiled with, by position."""

        def keep() -> None:
            common, each = split({self._digests[i]: v for i, v in sorted(found.items())})
            variants = Variants(
                key=list(self._question.key.parts),
                kernel=self.label,
                work_class=self._question.work_class,
                candidates=self._digests,
                common=common,
                each=each,
                recorded_at=time.time(),
            )
            self._persistence.resolver.keep_variants(self._question, variants)

        self._persistence.keep("variants", keep, meanwhile=None, wait_s=0.0)

    def publish(self, winner: Any, *, tune_s: float) -> Any:
        """Publish a measured winner; returns the live candidate that all processes use."""
        position = next(i for i, config in enumerate(self._pruned) if config is winner)
        digest = self._digests[position]
        measurement = self._known.get(digest)
        if measurement is None or measurement.failed is not None:
            return winner  # nothing ran, or the benchmark's results are not times
        about = self._question.about
        with self._persistence.guarded("clocks"):
            about = {**about, **device_facts.clocks()}
        journal, self.journal = self.journal, None

        def publish() -> str:
            try:
                return self._persistence.resolver.publish(
                    replace(self._question, about=about),
                    self._known,
                    digest,
                    origin="measured",
                    tune_s=tune_s,
                    on_kept=None if journal is None else journal.forget,
                )
            finally:
                if journal is not None:
                    journal.close()

        return self._live(self._persistence.keep("publish", publish, meanwhile=digest))

    def take_over(self, timings: Mapping[Any, Any]) -> Any | None:
        """Adopt results that stock Triton kept on disk, as a provisional verdict.

        `timings` are those of Triton's file; members that are not live are passed over.
        """
        with self._persistence.guarded("take_over"):
            found = dict(self._known)
            for position, config in enumerate(self._pruned):
                if config in timings:
                    candidate = self._question.candidates[position]
                    measurement = as_measurement(
                        Taken(timings[config]),
                        candidate=candidate.digest,
                        config=candidate.config,
                        method="triton-autotune-json",
                        work_class="cxx",
                    )
                    if measurement is not None:
                        found[candidate.digest] = measurement
            runnable = {d: m for d, m in found.items() if m.failed is None}
            if not runnable:  # Triton keeps what it found while another process held the memory
                return None
            self._known = found
            best = min((d for d in self._digests if d in runnable), key=lambda d: runnable[d].times)
            publish = partial(
                self._persistence.resolver.publish,
                self._question,
                self._known,
                best,
                origin="stock-cache",
                tune_s=0.0,
            )
            adopted = self._persistence.keep("take_over", publish, meanwhile=best)
            self.resolution = Resolution(
                Outcome.PROVISIONAL, adopted, dict(self._known), reason="stock_cache"
            )
            return self._live(adopted)
        return None

    def corrected(self, winner: str, known: dict[str, Measurement]) -> None:
        """What the store says since a recheck has replaced the verdict."""
        self._known = dict(known)
        self.resolution = dataclasses.replace(self.resolution, winner=winner, known=known)

    def _live(self, digest: str) -> Any:
        return self._pruned[self._digests.index(digest)]
