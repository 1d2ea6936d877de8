"""One key that this process does not know, on its way from the launch that met it to its winner.

A session is made by the launch, goes through these steps in their order, and is dropped at the end.
Each step reads what those before it have filled in:

==========  ======================================================  =============================
step        fills in                                                where
==========  ======================================================  =============================
meet        the launch, `candidates`                                `launch.cold_path`
ask         `question`, `resolution`, `measurements`, `winner`      `launch.persistence`
borrow      `choices`, `winner`, of a key that is not to be tuned   `launch.borrowing`
explore     `exploring`, of a key that its own launches tune        `launch.exploration`
expect      `prior`, of a key that must be tuned                    `launch.persistence`
compile     `variants`, `texts`                                     `compile.compilations`
measure     `winner`, `timings`, `measured`, `spent`, `looked`      `measure.tuner`
record      `measurements`, each as soon as it exists               `launch.persistence`
publish     `winner`: that of the process which was first           `launch.persistence`
tell        nothing: events, the progress line, Triton's own file   `launch.report`
==========  ======================================================  =============================

A key that the store answers ends after *ask*. One that cannot be kept has no `question`: it is
measured as any other, and neither recorded nor published.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...model.codec import digest
from ...model.key import Work
from ...model.records import Measurement
from ...policies import Numerics, Policies
from ...resolution.journal import Journal
from ...resolution.resolver import Question, Resolution
from ...tuning.priors import Prior
from ...tuning.siblings import times_of
from ..seams import kernels
from .autotuner_state import AutotunerState
from .fixed_classes import FixedClasses
from .grid import work_of
from .identity import innermost, name_of
from .key_classes import KeyClasses, Measured
from .known_winners import known_of, remember


@dataclass(eq=False)
class Session:
    """One launch of an autotuner whose key is not known, and what becomes of the key.

    `nargs` are the positional arguments by name, `stock_key` is Triton's key for the launch.
    `candidates` are what pruning left of the autotuner's configurations, in their order; "by
    position" is by their place in it. `own_benchmark`: the kernel's author or the program gave the
    benchmark function. `together`: that function may wait for other ranks, so that all must call
    it equally often, whatever their stores know.
    """

    autotuner: Any
    state: AutotunerState
    stock_key: tuple[Any, ...]
    nargs: dict[str, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    own_benchmark: bool = False
    together: bool = False
    candidates: list[Any] = field(default_factory=list)
    classes: KeyClasses | None = None
    """The winners of its key by work class; None where it has one for all."""
    numerics: Numerics = Numerics.OFF
    """What is made of the outputs of its candidates."""
    look_share: float = Policies.look_share
    """The part of its tuning's time that looking at them may take."""

    # What is known.
    question: Question | None = None
    resolution: Resolution | None = None
    measurements: dict[str, Measurement] = field(default_factory=dict)
    """Those that hold here, by the candidate's digest."""
    prior: Prior[int] = field(default_factory=Prior)
    """What other keys' verdicts let expect, by position."""
    journal: Journal | None = None
    """Where measurements are kept while it is tuned."""

    # What is found out.
    winner: Any = None
    """The candidate to launch; None as long as there is none."""
    choices: list[Any] = field(default_factory=list)
    """What to launch of a key that is not measured: the best first, then what runs if it does not.
    Empty where the winner was measured."""
    instead_of: Any = None
    """The winner of another size that would run, where this one's is measured."""
    exploring: list[int] = field(default_factory=list)
    """Positions to begin with, where its own launches are to tune the key; else empty."""
    is_served: bool = False
    """Whether the first of these is the winner of another class, and the store was not asked."""
    timings: dict[Any, Any] = field(default_factory=dict)
    """``configs_timings``: the results of all that were measured, in the list's order."""
    measured: int = 0
    """How many were measured here: none if all are known, and known to fail."""
    spent: dict[str, float] = field(default_factory=dict)
    """Where the seconds of the tuning went, for the events."""
    variants: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What candidates were compiled with, by position, as far as that is known."""
    uncompilable: dict[int, str] = field(default_factory=dict)
    """Why the compiler failed on a candidate where stock would have raised its error."""
    looked: Any = None
    """What its candidates wrote (`measure.looking.Looked`); None where nobody asked."""
    texts: Any = None
    """The code that was generated for its candidates (`compile.code_texts`)."""

    @functools.cached_property
    def work(self) -> Work:
        """How much the launch has to do."""
        if isinstance(self.classes, FixedClasses):  # as its other launches are looked at
            return self.classes.size(self.autotuner, self.args, self.kwargs).work
        return work_of(self.autotuner, self.nargs, self.kwargs)

    @property
    def constant(self) -> bool:
        """Whether only what has the first candidate's bits may be launched, as far as was seen."""
        return self.numerics is Numerics.BITS

    @property
    def class_name(self) -> str:
        """Its work class among `classes`."""
        assert self.classes is not None
        return self.classes.name(self.work)

    @property
    def is_settled(self) -> bool:
        """Whether there is something to launch by now, of its key or else of its class."""
        if self.classes is None:
            return self.stock_key in self.autotuner.cache
        if isinstance(self.classes, FixedClasses):
            return self._fixed(self.classes) is not None
        return self.class_name in self.classes.winners or self.class_name in self.classes.exploring

    @property
    def settled(self) -> Any:
        """What launches like this one run."""
        if self.classes is None:
            return self.autotuner.cache[self.stock_key]
        if isinstance(self.classes, FixedClasses):
            return self._fixed(self.classes)
        return self.classes.winners[self.class_name].config

    def _fixed(self, classes: FixedClasses) -> Any:
        entry = classes.entry_of_call(self.autotuner, self.args, self.kwargs)
        return None if entry is None else entry.config

    def remember(self) -> None:
        """Have launches like this one find it at once."""
        shapes, autotuner, args, kwargs = self.state.shapes, self.autotuner, self.args, self.kwargs
        if self.classes is None or self.classes.single:
            remember(shapes, autotuner, self.stock_key, self.settled, args, kwargs)
        else:
            known_of(shapes, autotuner, self.classes, args, kwargs).meet(autotuner, args, kwargs)

    def settle(self, config: Any) -> None:
        """From now on this is what launches like this one run."""
        cache = self.autotuner.cache
        if self.classes is None:
            cache[self.stock_key] = config
        else:
            self.classes.put(cache, self.class_name, config)
            self.learn_class(config)

    def learn_class(self, winner: Any) -> None:
        """Have the key's other classes know what is measured of this one."""
        classes, question = self.classes, self.question
        if classes is None or classes.single or question is None:
            return
        ours = (m for m in self.measurements.values() if m.work_class == question.work_class)
        if len(times := times_of(ours)) > 1:
            digest = question.digests[self.position_of(winner)]
            classes.measured[self.class_name] = Measured(digest, times)

    @property
    def times_by_class(self) -> dict[str, Mapping[str, float]]:
        """Milliseconds by candidate, of the key's other classes: what the store said of them, and
        what this process knows."""
        found = {} if self.resolution is None else dict(self.resolution.beside)
        if self.classes is not None:
            found.update((name, one.times) for name, one in dict(self.classes.measured).items())
        return found

    def resolve(self, question: Question, resolution: Resolution) -> None:
        """What the store says of it."""
        self.question, self.resolution = question, resolution
        self.measurements = dict(resolution.known)
        winner = resolution.winner
        self.winner = None if winner is None else self.candidate_of(winner)

    @property
    def label(self) -> str:
        """The kernel, as events name it."""
        return name_of(self.autotuner.fn) if self.question is None else self.question.label

    @property
    def interpreted(self) -> bool:
        """Whether Triton's interpreter runs its kernel, which launches nothing on a device."""
        return kernels.is_interpreted(innermost(self.autotuner.fn))

    @property
    def known(self) -> dict[int, Measurement]:
        """The measurements that hold here, by position."""
        if self.question is None:
            return {}
        digests = enumerate(self.question.digests)
        return {i: self.measurements[d] for i, d in digests if d in self.measurements}

    @property
    def failing(self) -> frozenset[int]:
        """Positions of candidates that are known to fail: in one of the key's classes, where
        nothing is measured."""
        failed = {d for d, m in self.measurements.items() if m.failed is not None}
        resolution, question = self.resolution, self.question
        if resolution is not None and resolution.of_key is not None:
            failed |= resolution.of_key.failed
        digests = [] if question is None else question.digests
        return frozenset(i for i, digest in enumerate(digests) if digest in failed)

    @property
    def world(self) -> str | None:
        """A digest of where what is measured now holds."""
        if self.question is None:
            return None
        return digest([list(part) for part in self.question.key.world])

    @property
    def seed(self) -> int:
        """For what a race leaves to chance."""
        return 0 if self.question is None else self.question.seed

    def position_of(self, candidate: Any) -> int:
        """The place of this very object in the list."""
        return next(i for i, config in enumerate(self.candidates) if config is candidate)

    def candidate_of(self, digest: str) -> Any:
        """The candidate with this digest; the first of several that are equal."""
        assert self.question is not None
        return self.candidates[self.question.digests.index(digest)]

    def known_timings(self) -> Mapping[Any, Any]:
        """``configs_timings`` of what is known, in the list's order."""
        return {self.candidates[i]: m.as_timing() for i, m in self.known.items()}
