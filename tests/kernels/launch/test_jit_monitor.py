"""An error raised by a JIT hook while a key is tuned, as vLLM's jit_monitor does in error mode.

The hook is called for every variant that is new in the process, after it was compiled or read from
disk: the error says nothing about the candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
from triton import knobs

from tests.fakes import journal_folder, measurements_left
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import Forgetful, tuneonce_on
from tuneonce.model.records import Measurement
from tuneonce.policies import Numerics, Policies
from tuneonce.store.files import FileStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts

X, OUT = torch.arange(1024.0), torch.zeros(1024)


class Monitor:
    """Raises after `allowed` new variants; chains the hook that was there."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.before = knobs.runtime.jit_post_compile_hook

    def __call__(self, **call: Any) -> Any:
        if self.allowed == 0:
            raise RuntimeError(
                "Triton kernel JIT compilation during inference: copy. This causes a latency spike"
            )
        self.allowed -= 1
        return self.before(**call) if self.before is not None else None


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    device_facts.forget()
    before = knobs.runtime.jit_post_compile_hook
    yield
    knobs.runtime.jit_post_compile_hook = before


def armed(allowed: int) -> None:
    knobs.runtime.jit_post_compile_hook = Monitor(allowed)


def disarmed() -> None:
    knobs.runtime.jit_post_compile_hook = None


def tunable() -> Any:
    return triton.autotune(blocks(256, 128, 64), ["n"])(make_copy())


def launch(kernel: Any) -> Any:
    kernel[covering(1024)](X, OUT, 1024)
    return kernel.best_config


def measurements(store: FileStore) -> list[Measurement]:
    return measurements_left(journal_folder(store))


@pytest.mark.parametrize("numerics", [Numerics.OFF, Numerics.CHECK])
@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_it_is_raised_and_no_candidate_is_called_broken(
    tmp_path: Path, allowed: int, numerics: Numerics
) -> None:
    store, policies = FileStore(tmp_path / "store"), Policies(numerics=numerics)
    with SimulatedGPU(), tuneonce_on(store, policies=policies) as events:
        kernel = tunable()
        armed(allowed)
        with pytest.raises(RuntimeError, match="during inference"):
            launch(kernel)
        kept = measurements(store)
        assert len(kept) == allowed
        assert [one.failed for one in kept] == [None] * allowed
        assert events.of("problem") == []
        assert kernel.cache == {}
        disarmed()
        winner = launch(kernel)
    # The next process measures what is missing, the candidate of the error among it.
    with SimulatedGPU(), tuneonce_on(store) as events:
        assert str(launch(tunable())) == str(winner)
        assert events.of("measure") == []


@pytest.mark.parametrize("numerics", [Numerics.OFF, Numerics.CHECK])
def test_a_benchmark_function_may_handle_it(numerics: Numerics) -> None:
    """It hears of it once for each new variant, whether or not that was looked at before."""
    refused: list[str] = []

    def bench(call: Any, quantiles: Any = None) -> list[float]:
        try:
            call()
        except RuntimeError as error:
            refused.append(str(error))
            return [float("inf")] * 3
        return [1.0] * 3

    with SimulatedGPU(), tuneonce_on(Forgetful(), policies=Policies(numerics=numerics)):
        kernel = triton.autotune(blocks(256, 128, 64), ["n"], do_bench=bench)(make_copy())
        armed(1)
        assert launch(kernel).kwargs["BLOCK"] == 256
        assert len(refused) == 2


@pytest.mark.parametrize("numerics", [Numerics.OFF, Numerics.CHECK])
def test_the_next_process_measures_the_rest(tmp_path: Path, numerics: Numerics) -> None:
    store = FileStore(tmp_path / "store")
    with SimulatedGPU(), tuneonce_on(store, policies=Policies(numerics=numerics)):
        armed(1)
        with pytest.raises(RuntimeError, match="during inference"):
            launch(tunable())
        disarmed()
    with SimulatedGPU(), tuneonce_on(store) as events:
        launch(tunable())
        assert len(events.of("measure")) == 2


def test_a_hit_compiles_one_variant_and_the_monitor_hears_of_it(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    with SimulatedGPU(), tuneonce_on(store):
        winner = launch(tunable())
    with SimulatedGPU(), tuneonce_on(store) as events:
        armed(0)
        kernel = tunable()
        # As with stock Triton: a variant's first launch is an event, even if it is on disk.
        with pytest.raises(RuntimeError, match="during inference"):
            launch(kernel)
        disarmed()
        assert str(launch(kernel)) == str(winner)
        assert events.of("measure") == []
        armed(0)
        assert str(launch(kernel)) == str(winner)
