"""A store that takes its time to keep something: no launch waits for it, and nothing is lost."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.fakes import RememberedEvents, journal_folder, journals_of, measurements_left
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tuneonce.model.records import Verdict, unpack
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.memory import MemoryStore
from tuneonce.system.threads import BoundedCalls
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

# Only a test that would fail waits so long.
TOO_LONG = 60.0


class Far(MemoryStore):
    """Keeps what it is given once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps = threading.Event()
        self.launching = threading.get_ident()
        self.writes = 0

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        assert threading.get_ident() != self.launching
        self.writes += 1
        assert self.keeps.wait(TOO_LONG)
        return super().put_if_absent(name, data, durable=durable)


def hook_over(store: MemoryStore) -> tuple[Hook, Persistence, RememberedEvents]:
    events, journals = RememberedEvents(), journals_of(store)
    resolver = Resolver(store, events, journals=journals)
    persistence = Persistence(resolver, events, raise_errors=True, background=BoundedCalls())
    module, workers = triton.runtime.autotuner, build_workers(0, events)
    return Hook(module, persistence, workers, journals=journals), persistence, events


def launch() -> int:
    kernel = triton.autotune(blocks(256, 64, 128), ["n"])(make_copy())
    kernel[covering(1024)](torch.zeros(1024), torch.zeros(1024), 1024)
    block: int = kernel.best_config.kwargs["BLOCK"]
    return block


def test_a_launch_goes_on_and_the_verdict_is_stored_later() -> None:
    store = Far()
    hook, persistence, events = hook_over(store)
    with SimulatedGPU(times=lambda one: float(one.constants["BLOCK"])):
        hook.install()
        try:
            assert launch() == 64
            assert list(store.list("")) == []
            assert len(measurements_left(journal_folder(store))) == 3
            assert launch() == 64  # of another kernel object, from the journal
            assert [one["e"] for one in events.seen].count("measure") == 3
            store.keeps.set()
            persistence.finish()
        finally:
            store.keeps.set()
            hook.uninstall()
    [name] = [name for name in store.list("") if name.endswith(".verdict.json")]
    data = store.get(name)
    assert data is not None
    assert len(unpack(data, Verdict).measurements) == 3
    assert list(journal_folder(store).iterdir()) == []
    assert events.problems() == []


def test_a_disk_is_fast_enough_for_the_winner_of_who_was_first() -> None:
    store = MemoryStore()
    winners = []
    for fastest in (64, 128):
        hook, _, _ = hook_over(store)
        times = {256: 3.0, 64: 2.0, 128: 2.0, fastest: 1.0}
        with SimulatedGPU(times=lambda one, times=times: times[one.constants["BLOCK"]]) as gpu:
            hook.install()
            try:
                winners.append(launch())
                assert bool(gpu.benchmarked) is (fastest == 64)
            finally:
                hook.uninstall()
    assert winners == [64, 64]
