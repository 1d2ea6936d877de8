"""Looks at the candidates of a case directly, without a tuner: each launched, nothing timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tuneonce.triton.measure.outputs.looks import Looks
from tuneonce.tuning.numerics import conclude

from .cases import Candidate, Case, Outcome
from .subjects import Memory, Subject

Run = Callable[..., None]
"""Launches a kernel: with a grid, arguments by name, and constants."""


class Launches:
    """Launches of candidates, where honest ones are only made once.

    For kernels that are interpreted, where nearly all of the time is that of launches. What an
    honest candidate wrote is written again. `run` makes the launches.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._written: dict[Any, list[Any]] = {}
        self.count = 0

    def __call__(
        self, subject: Subject, dtype: str, size: str, candidate: Candidate, values: dict[str, Any]
    ) -> None:
        tensors = [value for value in values.values() if isinstance(value, torch.Tensor)]
        known = (subject.name, dtype, size, *sorted(candidate.blocks.items()))
        if not candidate.fault and known in self._written:
            for tensor, written in zip(tensors, self._written[known], strict=True):
                tensor.copy_(written)
            return
        self.count += 1
        grid = subject.grid(subject.sizes[size], candidate.blocks)
        constants = {**candidate.constants, "TURN": self.count}
        self._run(subject.kernel, grid, {**values, **constants})
        if not candidate.fault:
            self._written[known] = [tensor.clone() for tensor in tensors]


def look(case: Case, size: str, launches: Launches, *, device: str = "cpu") -> Outcome:
    """Have all candidates of a case looked at."""
    subject = case.subject
    memory = Memory(device, getattr(torch, case.dtype))
    values = subject.arguments(memory, subject.sizes[size])
    found = Looks(values.values(), share=1.0, on_error=_raise, clock=lambda: 0.0)
    for position, candidate in enumerate(case.candidates):

        def launch(done: Callable[[], None], candidate: Candidate = candidate) -> None:
            launches(subject, case.dtype, size, candidate, values)
            done()

        found.of(position, launch)
    return outcome(case, found)


def outcome(case: Case, found: Looks) -> Outcome:
    seen = found.panel.seen
    told = conclude(range(len(case.candidates)), seen)
    honest = [at for at in seen if at != case.place]
    bits = {seen[at].bits for at in honest}
    return Outcome(
        caught=case.place in told.wrong,
        accused=len(told.wrong - {case.place}),
        disagrees=told.disagrees,
        distance=told.distances.get(case.place),
        honest=max((told.distances.get(at, 0.0) for at in honest), default=0.0),
        far=found.far,
        equal=case.place in seen and seen[case.place].bits in bits,
        unsteady=case.place in told.unsteady,
        left_out=found.left_out,
    )


def _raise(error: Exception) -> None:
    raise error
