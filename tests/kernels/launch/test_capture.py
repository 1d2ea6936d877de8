"""While a CUDA graph is captured nothing is measured, synchronised, waited for or remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.kernels.equivalence_calls import accumulate
from tests.kernels.equivalence_calls import blocks as interpreted_blocks
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import Events, Lab, tuneonce_on
from tests.kernels.launch.test_threads import TOO_LONG, Pause
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts

X, OUT = torch.arange(1024.0), torch.zeros(1024)


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


class CountingStore(MemoryStore):
    """Counts what is asked of it."""

    asked = 0

    def get(self, name: str) -> bytes | None:
        self.asked += 1
        return super().get(name)

    def list(self, prefix: str) -> Iterator[str]:
        self.asked += 1
        return super().list(prefix)

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self.asked += 1
        super().put(name, data, durable=durable)


def tunable(**options: Any) -> Any:
    # The slowest first, so that a winner is told from a default.
    return triton.autotune(blocks(256, 128, 64), ["n"], **options)(make_copy())


def launch(kernel: Any, n: int = 1024) -> None:
    kernel[covering(n)](X, OUT, n)


def winner_first_found(store: Any, n: int = 1024, **options: Any) -> Any:
    """Tune in a process of its own, so to speak."""
    with SimulatedGPU(times=by_block), tuneonce_on(store):
        kernel = tunable(**options)
        launch(kernel, n)
        return kernel.best_config


def by_block(launch: Any) -> float:
    return float(launch.constants["BLOCK"])


def problems(events: Events) -> list[str]:
    return [one["what"] for one in events.of("problem")]


def test_stock_fails() -> None:
    with SimulatedGPU() as gpu, gpu.capture(), pytest.raises(RuntimeError, match="capturing"):
        launch(tunable())


def test_a_cold_key_runs_the_first_candidate_and_is_not_remembered() -> None:
    store = CountingStore()
    with SimulatedGPU(times=by_block) as gpu, tuneonce_on(store) as events:
        kernel = tunable()
        with gpu.capture() as captured:
            launch(kernel)
            launch(kernel)
        assert gpu.benchmarked == []
        assert len(captured) == 2
        assert all(one.runs(kernel.configs[0]) for one in captured)
        assert kernel.best_config is kernel.configs[0]
        assert kernel.cache == {}
        assert not hasattr(kernel, "configs_timings")
        assert list(store.list("")) == []
        assert problems(events) == ["cold_in_capture"] * 2
        launch(kernel)
        assert len(gpu.benchmarked) == 3
        assert kernel.best_config is kernel.configs[2]
    assert events.outcomes == ["miss"] * 3


def test_a_winner_in_the_store_is_used_and_remembered() -> None:
    store = CountingStore()
    found = winner_first_found(store)
    with SimulatedGPU(times=by_block) as gpu, tuneonce_on(store) as events:
        kernel = tunable()
        assert found == kernel.configs[2]
        with gpu.capture() as captured:
            launch(kernel)
            asked = store.asked
            launch(kernel)
        launch(kernel)
        assert store.asked == asked
        assert gpu.benchmarked == []
        assert all(one.runs(kernel.configs[2]) for one in gpu.launches)
        assert len(captured) == 2
        assert list(kernel.cache.values()) == [kernel.configs[2]]
        assert kernel.cache[next(iter(kernel.cache))] is kernel.configs[2]
        assert [time[0] for time in kernel.configs_timings.values()] == [256.0, 128.0, 64.0]
    assert events.outcomes == ["hit"]
    assert problems(events) == []


def test_a_known_key_is_launched_as_ever() -> None:
    with SimulatedGPU(times=by_block) as gpu, tuneonce_on(MemoryStore()) as events:
        kernel = tunable()
        launch(kernel)
        with gpu.capture() as captured:
            launch(kernel)
        assert [one.runs(kernel.configs[2]) for one in captured] == [True]
        assert len(gpu.benchmarked) == 3
    assert problems(events) == []


def test_a_graph_replays_what_was_captured() -> None:
    with SimulatedGPU() as gpu, tuneonce_on(MemoryStore()):
        kernel = tunable()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            launch(kernel)
        gpu.forget()
        graph.replay()
        assert [one.runs(kernel.configs[0]) for one in gpu.launches] == [True]


@pytest.mark.parametrize("kind", [list, iter, tuple])
def test_candidates_are_pruned(kind: Callable[[Any], Any]) -> None:
    def prune(configs: Any, arguments: dict[str, Any], **meta: Any) -> Any:
        assert arguments == {"x": X, "out": OUT, "n": 1000}
        return kind([config for config in configs if config.kwargs["BLOCK"] != 256])

    with SimulatedGPU() as gpu, tuneonce_on(MemoryStore()):
        kernel = tunable(prune_configs_by={"early_config_prune": prune})
        with gpu.capture() as captured:
            launch(kernel, 1000)
        assert [one.runs(kernel.configs[1]) for one in captured] == [True]


def test_hooks_of_a_benchmark_are_not_called_those_of_the_candidate_are() -> None:
    called: list[str] = []

    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("called during a capture")

    configs = [
        triton.Config({"BLOCK": size}, pre_hook=lambda arguments, s=size: called.append(str(s)))
        for size in (64, 128)
    ]
    with SimulatedGPU() as gpu, tuneonce_on(MemoryStore()):
        kernel = triton.autotune(
            configs, ["n"], pre_hook=never, post_hook=never, do_bench=never, reset_to_zero=["out"]
        )(make_copy())
        with gpu.capture():
            launch(kernel)
    assert called == ["64"]


@pytest.mark.parametrize("n", [512, 1024])
def test_a_capture_does_not_wait_for_a_tuning(n: int) -> None:
    """Of another key or of its own."""
    pause = Pause()
    pause.armed = True

    def bench(call: Callable[[], Any], quantiles: Any) -> list[float]:
        call()
        pause()
        return [float(kernel.configs[0].kwargs["BLOCK"])] * 3

    store = MemoryStore()
    times = iter((3.0, 2.0, 1.0))

    def other(call: Callable[[], Any], quantiles: Any) -> list[float]:
        return [next(times)] * 3

    winner_first_found(store, 512, do_bench=other)
    with SimulatedGPU() as gpu, tuneonce_on(store), ThreadPoolExecutor(1) as pool:
        kernel = tunable(do_bench=bench)
        tuning = pool.submit(launch, kernel, 1024)
        try:
            assert pause.reached.wait(TOO_LONG)
            with gpu.capture() as captured:
                launch(kernel, n)
            assert not tuning.done()
        finally:
            pause.go_on.set()
        tuning.result(TOO_LONG)
        # What the store knows is used although the other thread holds the kernel.
        assert captured[0].runs(kernel.configs[2 if n == 512 else 0])
        assert len(kernel.cache) == (2 if n == 512 else 1)


def test_capture_is_asked_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab()
    kernel = lab.autotune(lab.interpreted(accumulate), interpreted_blocks(8, 16), ["n"])
    with tuneonce_on(MemoryStore()) as events:
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        kernel[(1,)](lab.x, lab.out, lab.mark, 8, 0)
        assert [one[0] for one in lab.step.events] == ["launch"]

        def without_cuda() -> bool:
            raise RuntimeError("Torch not compiled with CUDA enabled")

        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", without_cuda)
        kernel[(1,)](lab.x, lab.out, lab.mark, 8, 0)
        launches = [one[0] for one in lab.step.events]
        assert launches == ["launch", "benchmark", "benchmark", "launch"]
    assert events.outcomes == ["miss", "miss"]
