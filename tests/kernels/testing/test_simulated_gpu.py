"""The simulated GPU itself, under stock Triton."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402
from triton.runtime.errors import OutOfResources  # noqa: E402

from tests.fakes import Children, compile_log  # noqa: E402
from tuneonce.testing import SimulatedGPU  # noqa: E402


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out + at, tl.load(x + at, mask=mask) + tl.load(y + at, mask=mask), mask=mask)


@triton.jit
def row_sum(x, out, BLOCK: tl.constexpr):
    tl.store(out, tl.sum(tl.load(x + tl.arange(0, BLOCK))))


CONFIGS = [triton.Config({"BLOCK": block}, num_warps=w) for block in (64, 256) for w in (2, 4)]


def tuned(**options: Any) -> Any:
    """A new autotuner, which no test has tuned yet."""
    return triton.autotune(configs=CONFIGS, key=["n"], **options)(add)


def call(kernel: Any, n: int, **kwargs: Any) -> Any:
    x, out = torch.ones(n), torch.zeros(n)
    kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, x, out, n, **kwargs)
    return out


def test_torch_and_triton_see_the_gpu_that_was_asked_for() -> None:
    with SimulatedGPU(
        product="NVIDIA L4 (simulated)", arch=89, sm_count=58, devices=2, memory_bytes=24 * 2**30
    ) as gpu:
        assert torch.cuda.is_available()
        assert torch.cuda.device_count() == 2
        assert torch.cuda.get_device_name(1) == "NVIDIA L4 (simulated)"
        assert torch.cuda.get_device_capability() == (8, 9)
        properties = torch.cuda.get_device_properties("cuda:1")
        assert properties.name == gpu.product
        assert (properties.major, properties.minor) == (8, 9)
        assert properties.total_memory == 24 * 2**30
        assert properties.multi_processor_count == 58
        driver = triton.runtime.driver.active
        assert (driver.get_current_target().arch, driver.get_current_target().backend) == (
            89,
            "cuda",
        )
        assert driver.utils.get_device_properties(1)["multiprocessor_count"] == 58
        assert driver.utils.get_device_properties(1)["max_shared_mem"] == 101376
        # Where kernels' tensors are: on the CPU.
        assert torch.cuda.get_device_name(torch.zeros(1).device) == gpu.product
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            torch.cuda.get_device_properties(2)
        # Seeds set before a GPU is used must not look for a real one.
        torch.manual_seed(0)


def test_uninstalling_restores_everything() -> None:
    kernel = tuned()
    owners = (torch.cuda, torch.cuda.graphs, torch._C, torch.version, triton.runtime.driver)
    before = [dict(vars(owner)) for owner in owners]
    with SimulatedGPU() as gpu:
        binary = add[(1,)](torch.zeros(8), torch.zeros(8), torch.zeros(8), 8, BLOCK=64)
        call(kernel, 100)
        assert kernel.cache
        assert add.device_caches
        assert dict(vars(torch.cuda)) != before[0]
    assert [dict(vars(owner)) for owner in owners] == before
    assert not kernel.cache
    assert not {"best_config", "configs_timings", "do_bench"} & set(vars(kernel))
    assert not add.device_caches
    # A compiled kernel that is still held is not unloaded through somebody else's driver; with
    # warnings as errors, a failing finalizer would fail this test.
    assert binary.module is None
    del binary
    gc.collect()
    gpu.uninstall()  # a second time does nothing


def test_results_of_another_device_are_set_aside() -> None:
    kernel = tuned()
    with SimulatedGPU() as outer:
        call(kernel, 100)
        winner, binaries = kernel.cache.copy(), dict(add.device_caches)
        outer.uninstall()
        # What a real GPU would have left behind:
        kernel.cache.update(winner)
        add.device_caches.update(binaries)
        with SimulatedGPU(seed=1) as inner:
            assert not kernel.cache
            call(kernel, 100)
            assert len(inner.benchmarked) == len(CONFIGS)
        assert kernel.cache == winner
        assert dict(add.device_caches) == binaries
        kernel.cache.clear()
        add.device_caches.clear()


def test_one_at_a_time_and_never_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatedGPU(), pytest.raises(RuntimeError, match="already installed"):
        SimulatedGPU().install()
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET"):
        SimulatedGPU().install()
    assert not torch.cuda.is_available() or torch.version.cuda != "0.0"


def test_kernels_compile_to_real_binaries_and_do_not_run(gpu: SimulatedGPU) -> None:
    with compile_log() as log:
        out = torch.zeros(128)
        binary = add[(2,)](torch.ones(128), torch.ones(128), out, 128, BLOCK=64, num_warps=2)
    assert log == [("add", False)]
    assert binary.asm["cubin"].startswith(b"\x7fELF")
    assert ".target sm_90a" in binary.asm["ptx"]
    assert not out.any()
    launch = gpu.launches[-1]
    assert (launch.kernel, launch.grid, launch.num_warps) == ("add", (2, 1, 1), 2)
    assert launch.constants == {"BLOCK": 64}
    assert launch.module == add.fn.__module__


def test_binaries_come_from_tritons_disk_cache_the_second_time() -> None:
    logs = []
    for _ in range(2):
        with SimulatedGPU() as gpu, compile_log() as log:
            call(add, 100, BLOCK=64)
        logs.append(log)
        assert gpu.loaded == 1
    assert logs == [[("add", False)], [("add", True)]]


def test_stock_triton_tunes_reproducibly_and_finds_the_best() -> None:
    kernel = tuned()
    winners = []
    times = []
    for seed in (0, 0, 1, 2, 3, 4):
        with SimulatedGPU(seed=seed) as gpu:
            call(kernel, 100_000)
            assert gpu.best("add").runs(kernel.best_config)
            assert [one.launch.runs(c) for one, c in zip(gpu.benchmarked, CONFIGS, strict=True)]
            assert all(one.samples > 1 and not one.failed for one in gpu.benchmarked)
            # Once for each candidate, then the launch that was asked for.
            assert len(gpu.launches) == len(CONFIGS) + 1
            assert gpu.launches[-1].runs(kernel.best_config)
            call(kernel, 100_000)
            assert len(gpu.benchmarked) == len(CONFIGS)
            winners.append(str(kernel.best_config))
            times.append([one.median_ms for one in gpu.benchmarked])
            assert list(kernel.configs_timings.values()) == [[ms] * 3 for ms in times[-1]]
    assert winners[0] == winners[1]
    assert times[0] == times[1] != times[2]
    assert len(set(winners)) > 1


def test_times_are_the_same_in_another_process(gpu: SimulatedGPU, warm_children: Children) -> None:
    call(tuned(), 5000)
    script = """
        import json, torch, triton, triton.language as tl
        from tuneonce.testing import SimulatedGPU

        @triton.autotune(
            configs=[triton.Config({"BLOCK": b}, num_warps=w) for b in (64, 256) for w in (2, 4)],
            key=["n"],
        )
        @triton.jit
        def add(x, y, out, n, BLOCK: tl.constexpr):
            at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
            tl.store(out + at, tl.load(x + at, mask=at < n), mask=at < n)

        with SimulatedGPU() as gpu:
            x = torch.zeros(5000)
            add[lambda meta: (triton.cdiv(5000, meta["BLOCK"]),)](x, x, x, 5000)
            print(json.dumps([[one.candidate, one.median_ms] for one in gpu.benchmarked]))
    """
    assert warm_children.run(script) == [[one.candidate, one.median_ms] for one in gpu.benchmarked]
    assert any(warm_children.triton_cache.iterdir())


def test_stock_results_on_disk_are_found_again() -> None:
    with SimulatedGPU() as gpu:
        call(tuned(cache_results=True), 100)
        assert len(gpu.benchmarked) == len(CONFIGS)
    with SimulatedGPU() as gpu:
        call(tuned(cache_results=True), 100)
        assert gpu.benchmarked == []


def test_history_is_bounded() -> None:
    with SimulatedGPU(history=3) as gpu:
        for n in (100, 200, 300, 400, 500):
            call(add, n, BLOCK=64)
        assert [launch.grid[0] for launch in gpu.launches] == [5, 7, 8]
        gpu.forget()
        assert gpu.launches == []


def test_empty_grids_launch_nothing_and_impossible_ones_fail(gpu: SimulatedGPU) -> None:
    x = torch.zeros(8)
    add[(0,)](x, x, x, 8, BLOCK=64)
    assert gpu.launches == []
    with pytest.raises(RuntimeError, match="invalid argument"):
        add[(1, 65536)](x, x, x, 8, BLOCK=64)
    assert gpu.launches == []


def test_launch_hooks_are_called(gpu: SimulatedGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    runtime = triton.knobs.runtime
    monkeypatch.setattr(runtime, "launch_enter_hook", lambda lazy: seen.append(lazy.get()["name"]))
    monkeypatch.setattr(runtime, "launch_exit_hook", lambda lazy: seen.append("done"))
    call(add, 100, BLOCK=64)
    assert seen == ["add", "done"]


def test_a_kernel_that_needs_too_much_shared_memory() -> None:
    with SimulatedGPU(max_shared_mem=4) as gpu:
        with pytest.raises(OutOfResources, match="shared memory"):
            row_sum[(1,)](torch.zeros(1024), torch.zeros(1), BLOCK=1024)
        assert gpu.launches == []
    with SimulatedGPU() as gpu:
        row_sum[(1,)](torch.zeros(1024), torch.zeros(1), BLOCK=1024)
        assert len(gpu.launches) == 1


def test_candidates_can_be_made_to_fail(gpu: SimulatedGPU) -> None:
    kernel = tuned()
    gpu.fail(lambda launch: launch.constants["BLOCK"] == 64)
    call(kernel, 100_000)
    assert kernel.best_config.kwargs["BLOCK"] == 256
    failed = [one for one in gpu.benchmarked if one.failed]
    assert [one.launch.constants["BLOCK"] for one in failed if one.launch] == [64, 64]
    assert all("OutOfResources" in str(one.failed) for one in failed)
    assert next(iter(kernel.configs_timings.values())) == [float("inf")] * 3
    with pytest.raises(OutOfResources):
        call(add, 100, BLOCK=64)


def test_a_failure_that_no_tuner_survives(gpu: SimulatedGPU) -> None:
    def illegal() -> RuntimeError:
        return RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered")

    gpu.fail(lambda launch: launch.num_warps == 4, illegal)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        call(tuned(), 100)


def test_noise_is_reproducible_and_ordered() -> None:
    timings = []
    for _ in range(2):
        kernel = tuned()
        with SimulatedGPU(noise=0.05) as gpu:
            call(kernel, 100)
            for (median, low, high), done in zip(
                kernel.configs_timings.values(), gpu.benchmarked, strict=True
            ):
                assert done.launch is not None
                assert gpu.model.ms(done.launch) <= low < median < high
            timings.append(list(kernel.configs_timings.values()))
    assert timings[0] == timings[1]


@pytest.mark.parametrize("bench", ["do_bench", "do_bench_cudagraph"])
def test_tritons_own_benchmarks_measure_simulated_time(gpu: SimulatedGPU, bench: str) -> None:
    measured = getattr(triton.testing, bench)(lambda: call(add, 1_000_000, BLOCK=64), rep=2)
    assert measured == pytest.approx(gpu.model.ms(gpu.launches[0]), rel=1e-6)


@pytest.mark.parametrize(
    ("mode", "pick"), [("min", min), ("max", max), ("mean", lambda t: sum(t) / len(t))]
)
def test_benchmarker_answers_like_do_bench(mode: str, pick: Callable[..., float]) -> None:
    with SimulatedGPU(noise=0.1) as gpu:
        times = gpu.benchmark(lambda: call(add, 100, BLOCK=64), return_mode="all")
    with SimulatedGPU(noise=0.1) as gpu:
        one = gpu.benchmark(lambda: call(add, 100, BLOCK=64), return_mode=mode)
    assert one == pytest.approx(pick(times))


def test_benchmarker_sums_the_launches_of_one_call(gpu: SimulatedGPU) -> None:
    def both() -> None:
        call(add, 100, BLOCK=64)
        call(add, 5000, BLOCK=256)

    measured = gpu.benchmark(both, quantiles=[0.5])
    assert measured == pytest.approx(sum(map(gpu.model.ms, gpu.launches)))
    assert gpu.benchmark(lambda: None, quantiles=[0.5, 0.2]) == [0.0, 0.0]


def test_nothing_is_benchmarked_during_a_capture(gpu: SimulatedGPU) -> None:
    assert not torch.cuda.is_current_stream_capturing()
    with gpu.capture() as captured:
        assert torch.cuda.is_current_stream_capturing()
        call(add, 100, BLOCK=64)
        with pytest.raises(RuntimeError, match="capturing"):
            call(tuned(), 100)
        with pytest.raises(RuntimeError, match="capturing"):
            torch.cuda.synchronize()
    assert not torch.cuda.is_current_stream_capturing()
    assert [launch.kernel for launch in captured] == ["add"]
    assert [launch.captured for launch in gpu.launches] == [True]
    gpu.capturing = True
    assert torch.cuda.is_current_stream_capturing()
    gpu.capturing = False


def test_a_graph_launches_again_what_it_captured(gpu: SimulatedGPU) -> None:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(add, 100, BLOCK=64)
    gpu.forget()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    graph.replay()
    graph.replay()
    end.record()
    assert [launch.kernel for launch in gpu.launches] == ["add", "add"]
    assert not any(launch.captured for launch in gpu.launches)
    assert start.elapsed_time(end) == pytest.approx(2 * gpu.model.ms(gpu.launches[0]))


def test_every_device_loads_its_own_kernels() -> None:
    with SimulatedGPU(devices=2) as gpu:
        call(add, 100, BLOCK=64)
        gpu.set_current_device(1)
        assert torch.cuda.current_device() == 1
        call(add, 100, BLOCK=64)
        with torch.cuda.device(0):
            call(add, 100, BLOCK=64)
        call(add, 100, BLOCK=64)
        assert [launch.device for launch in gpu.launches] == [0, 1, 0, 1]
        assert gpu.loaded == 2
        assert sorted(add.device_caches) == [0, 1]
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            torch.cuda.set_device(2)


def test_streams_are_told_apart(gpu: SimulatedGPU) -> None:
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        assert torch.cuda.current_stream() == side
        call(add, 100, BLOCK=64)
    call(add, 100, BLOCK=64)
    assert [launch.stream for launch in gpu.launches] == [side.cuda_stream, 0]


def test_threads_have_their_own_device_and_their_own_benchmarks() -> None:
    seen: dict[int, Any] = {}

    def work(device: int) -> None:
        start = torch.cuda.current_device()
        torch.cuda.set_device(device)
        blocks = {0: 64, 1: 256}
        times = gpu.benchmark(lambda: call(add, 10_000, BLOCK=blocks[device]), quantiles=[0.5])
        seen[device] = start, torch.cuda.current_device(), times

    with SimulatedGPU(devices=2) as gpu:
        threads = [threading.Thread(target=work, args=(device,)) for device in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = {launch.device: gpu.model.ms(launch) for launch in gpu.launches}
        assert seen == {0: (0, 0, expected[0]), 1: (0, 1, expected[1])}


def test_real_time_waits_as_a_device_would(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    with SimulatedGPU(real_time=True, times=lambda launch: 40.0) as gpu:
        gpu.benchmark(lambda: call(add, 100, BLOCK=64))
        torch.cuda.synchronize()
        call(add, 100, BLOCK=64)
        call(add, 100, BLOCK=64)
        torch.cuda.synchronize()
        torch.cuda.synchronize()
    assert slept == pytest.approx([0.125, 0.04, 0.08, 0.0])


def test_an_event_may_not_be_asked_during_a_capture(gpu: SimulatedGPU) -> None:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    assert event.query()
    with gpu.capture(), pytest.raises(RuntimeError, match="capturing"):
        event.query()
