"""A tuning that takes long says so: the hook's side of the progress line."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import Events
from tuneonce.events.progress import Progress
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

X, OUT = torch.arange(1024.0), torch.zeros(1024)


class Clock:
    """Every reading takes a second."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def tune(caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """Launches a kernel with five candidates; what was logged."""
    caplog.set_level(logging.INFO, logger="tuneonce")

    def run(
        *, workers: int = 0, do_bench: bool, clock: Callable[[], float], **options: Any
    ) -> list[str]:
        caplog.clear()
        events: Any = Events()
        progress = Progress(clock=clock, stream=io.StringIO(), raise_errors=True)
        persistence = Persistence(Resolver(MemoryStore(), events), events, raise_errors=True)
        hook = Hook(
            sys.modules["triton.runtime.autotuner"],
            persistence,
            build_workers(workers, events),
            progress=progress,
        )
        with SimulatedGPU(do_bench=do_bench):
            assert hook.install()
            try:
                kernel = triton.autotune(blocks(64, 128, 256, 512, 32), ["n"], **options)
                kernel(make_copy())[covering(1024)](X, OUT, 1024)
            finally:
                hook.uninstall()
        return [text for text in caplog.messages if "tuning" in text]

    return run


@pytest.mark.parametrize("do_bench", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_long_tuning_is_told(
    tune: Callable[..., list[str]], do_bench: bool, workers: int
) -> None:
    said = tune(do_bench=do_bench, workers=workers, clock=Clock())
    assert said
    assert said[0].startswith("tuneonce: tuning make_copy.<locals>.copy x=fp32 out=fp32 n=1024: ")
    assert " of 5 candidates" in said[0]


def test_a_quick_one_is_not(tune: Callable[..., list[str]]) -> None:
    assert tune(do_bench=True, clock=lambda: 0.0) == []
