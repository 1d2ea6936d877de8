"""Tunes the candidates of a case, as a program does, with looks on: compiled, on this GPU."""

from __future__ import annotations

from typing import Any

import torch
import triton

from tests.fakes import RememberedEvents, journals_of
from tuneonce.model.records import Sighting, Verdict, unpack
from tuneonce.policies import Numerics, Policies
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.memory import MemoryStore
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence
from tuneonce.tuning.numerics import far_beyond

from .cases import Case, Outcome
from .subjects import Memory

Seconds = dict[str, float]


class Tuner:
    """Each case with a store of its own, so that nothing is known of its candidates."""

    def __init__(self, workers: int) -> None:
        self._events = RememberedEvents()
        self._workers = build_workers(workers, self._events)

    def tune(self, case: Case, size: str, kernel: Any, *, device: str) -> tuple[Outcome, Seconds]:
        """What became of it, and the seconds that tuning, and looking within it, took."""
        subject, store = case.subject, MemoryStore()
        configs = [triton.Config(each.constants) for each in case.candidates]
        tuned = triton.autotune(configs, [], reset_to_zero=list(subject.zeroed))(kernel)
        shape = subject.sizes[size]
        values = subject.arguments(Memory(device, getattr(torch, case.dtype)), shape)
        begin, journals = len(self._events.seen), journals_of(store)
        resolver = Resolver(store, self._events, journals=journals)
        hook = Hook(
            triton.runtime.autotuner,
            Persistence(resolver, self._events, raise_errors=True),
            self._workers,
            journals=journals,
            policies=Policies(numerics=Numerics.CHECK),
        )
        if not hook.install():
            raise SystemExit("this Triton is not one that is hooked")
        try:
            tuned[lambda meta: subject.grid(shape, meta)](**values, TURN=-1)
        finally:
            hook.uninstall()
        events = self._events.seen[begin:]
        [told] = [event for event in events if event["e"] == "outputs"]
        [tune] = [event for event in events if event["e"] == "tune"]
        tensors = [value for value in values.values() if isinstance(value, torch.Tensor)]
        far = far_beyond(
            [value.dtype.itemsize * 8 for value in tensors],
            max(value.numel() for value in tensors),
        )
        seconds = {"tune_s": tune["seconds"], "look_s": told["seconds"]}
        return _outcome(case, _verdict(store), far, told["left_out"]), seconds


def _verdict(store: MemoryStore) -> Verdict:
    [name] = [name for name in store.list("") if name.endswith(".verdict.json")]
    return unpack(store.get(name) or b"", Verdict)


def _outcome(case: Case, verdict: Verdict, far: float | None, left_out: str | None) -> Outcome:
    seen: Sighting | None = next(iter(verdict.sightings or ()), None)
    wrong = verdict.candidates[case.place]
    if seen is None:
        return Outcome(False, 0, False, None, 0.0, far, False, False, left_out)
    honest = [each for each in verdict.candidates if each in seen.classes and each != wrong]
    apart = {one: seen.distances.get(one, 0.0) for one in seen.classes}
    numbers = {one: float("inf") if d is None else d for one, d in apart.items()}
    own = seen.classes.get(wrong)
    return Outcome(
        caught=wrong in seen.wrong,
        accused=len({*seen.wrong} - {wrong}),
        disagrees=seen.disagrees,
        distance=numbers.get(wrong),
        honest=max((numbers[one] for one in honest), default=0.0),
        far=far,
        equal=own is not None and own >= 0 and own in {seen.classes[one] for one in honest},
        unsteady=own == -1,
        left_out=left_out,
    )
