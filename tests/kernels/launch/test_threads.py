"""Threads that meet one kernel: one tunes, the others wait for it, and nobody else waits."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from tests.kernels import equivalence_lab
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tuneonce.policies import Numerics, Policies
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.measure.looking import Looking

this = sys.modules[__name__]
policies = Policies()
looking = threading.local()

# Only a test that would fail waits this long.
TOO_LONG = 30.0


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


@pytest.fixture(params=[Numerics.OFF, Numerics.CHECK], autouse=True)
def _numerics(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches that are only looked at change nothing, and are marked as such."""
    monkeypatch.setattr(this, "policies", Policies(numerics=request.param))
    stock = Looking.first

    def first(self: Looking, *args: Any) -> None:
        looking.now = True
        try:
            stock(self, *args)
        finally:
            looking.now = False

    monkeypatch.setattr(Looking, "first", first)


def tuneonce_on(store: Any) -> Any:
    return equivalence_lab.tuneonce_on(store, policies=policies)


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of `work(0)`, `work(1)`, ... started in as many threads at one moment."""
    start = threading.Barrier(count)

    def one(number: int) -> Any:
        start.wait(TOO_LONG)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return [done.result(TOO_LONG) for done in [pool.submit(one, i) for i in range(count)]]


class Kernel:
    """An autotuned kernel whose launches are a Python function, so that they run in any thread.

    It adds `x` to `out`. Triton's interpreter would do, but it patches its modules while it runs.
    """

    def __init__(self, bench: Callable[..., Any] | None = None, **options: Any) -> None:
        def add(x, out, n, BLOCK: tl.constexpr):
            i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
            tl.store(out + i, tl.load(out + i) + tl.load(x + i), mask=i < n)

        self.lock = threading.Lock()
        self.measured: list[tuple[int, int]] = []
        self.launched: list[tuple[int, int]] = []
        self.measuring = threading.local()
        self.bench = bench
        fn = InterpretedFunction(add)
        fn.run = self._run
        decorate = triton.autotune(blocks(64, 128, 256), ["n"], do_bench=self._bench, **options)
        self.autotuner = decorate(fn)

    def _run(self, x: Any, out: Any, n: int, *, BLOCK: int, **options: Any) -> None:
        out += x
        if getattr(looking, "now", False):
            return
        measuring = getattr(self.measuring, "now", False)
        with self.lock:
            (self.measured if measuring else self.launched).append((n, BLOCK))

    def _bench(self, call: Callable[[], Any], quantiles: Any) -> list[float]:
        self.measuring.now = True
        try:
            call()
            if self.bench is not None:
                self.bench()
        finally:
            self.measuring.now = False
        n, block = self.measured[-1]
        return [float(abs(block - 64 * (1 + n % 3)))] * 3

    def __call__(self, n: int = 256, **keywords: Any) -> torch.Tensor:
        out = torch.zeros(4)
        if keywords:
            self.autotuner[(4,)](torch.ones(4), out=out, n=n)
        else:
            self.autotuner[(4,)](torch.ones(4), out, n)
        return out

    @staticmethod
    def winner(n: int) -> int:
        """The fastest block, and of two equally fast ones the first."""
        return min((64, 128, 256), key=lambda block: abs(block - 64 * (1 + n % 3)))


@pytest.mark.parametrize("count", [2, 32])
def test_one_tuning_of_a_compiled_kernel(count: int) -> None:
    x, out = torch.arange(1024.0), torch.zeros(1024)
    with SimulatedGPU() as gpu, tuneonce_on(MemoryStore()) as events:
        kernel = triton.autotune(blocks(64, 128, 256), ["n"])(make_copy())
        together(count, lambda _: kernel[covering(1024)](x, out, 1024))
        assert len(gpu.benchmarked) == 3
        # A simulated GPU writes nothing, so no other candidate is looked at.
        looks = int(policies.numerics is Numerics.CHECK)
        assert len(gpu.launches) == looks + 3 + count
        assert all(launch.runs(kernel.best_config) for launch in gpu.launches[looks + 3 :])
        assert gpu.best().runs(kernel.best_config)
    assert len(events.of("tune")) == 1
    assert events.outcomes == ["miss"]


@pytest.mark.parametrize("count", [2, 32])
def test_every_thread_has_its_result(count: int) -> None:
    kernel = Kernel(restore_value=["out"])
    with tuneonce_on(MemoryStore()) as events:
        results = together(count, lambda _: kernel())
    assert [result.tolist() for result in results] == [[1.0] * 4] * count
    assert [block for _, block in kernel.measured] == [64, 128, 256]
    assert kernel.launched == [(256, kernel.winner(256))] * count
    assert len(events.of("tune")) == 1


def test_different_keys_at_once() -> None:
    kernel = Kernel()
    with tuneonce_on(MemoryStore()) as events:
        together(32, lambda number: kernel(number % 8))
    assert sorted(kernel.measured) == [(n, block) for n in range(8) for block in (64, 128, 256)]
    assert sorted(kernel.launched) == sorted((n % 8, kernel.winner(n % 8)) for n in range(32))
    assert len(events.of("tune")) == 8


def test_different_ways_to_call_at_once() -> None:
    kernel = Kernel()
    with tuneonce_on(MemoryStore()):
        together(16, lambda number: kernel(5, keywords=True) if number % 2 else kernel(5))
    assert len(kernel.measured) == 3
    assert kernel.launched == [(5, kernel.winner(5))] * 16


def test_two_kernels_are_tuned_at_the_same_time() -> None:
    both = threading.Barrier(2)
    kernels = [Kernel(lambda: both.wait(TOO_LONG)) for _ in range(2)]
    with tuneonce_on(MemoryStore()):
        together(2, lambda number: kernels[number](number))
    assert [len(kernel.measured) for kernel in kernels] == [3, 3]


class Pause:
    """A benchmark that stops in the middle until it is told to go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.armed = False

    def __call__(self) -> None:
        if self.armed:
            self.reached.set()
            assert self.go_on.wait(TOO_LONG)


def test_a_known_key_does_not_wait_for_a_tuning() -> None:
    pause = Pause()
    kernel = Kernel(pause)
    with tuneonce_on(MemoryStore()), ThreadPoolExecutor(1) as pool:
        kernel(0)
        pause.armed = True
        tuning = pool.submit(kernel, 1)
        try:
            assert pause.reached.wait(TOO_LONG)
            assert kernel(0).tolist() == [1.0] * 4
            # Known to Triton, but never called like this: not on the shortest path yet.
            assert kernel(0, keywords=True).tolist() == [1.0] * 4
            assert not tuning.done()
        finally:
            pause.go_on.set()
        tuning.result(TOO_LONG)
    assert kernel.launched == [(0, 64), (0, 64), (0, 64), (1, 128)]


def test_another_kernel_does_not_wait_for_a_tuning() -> None:
    pause = Pause()
    pause.armed = True
    paused, other = Kernel(pause), Kernel()
    with tuneonce_on(MemoryStore()), ThreadPoolExecutor(1) as pool:
        tuning = pool.submit(paused, 1)
        try:
            assert pause.reached.wait(TOO_LONG)
            other(0)
            assert not tuning.done()
        finally:
            pause.go_on.set()
        tuning.result(TOO_LONG)
    assert len(other.measured) == 3


def test_a_tuning_that_fails_leaves_the_next_thread_to_it() -> None:
    failed = threading.Event()

    def bench() -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("CUDA error: out of memory")

    def work(number: int) -> str:
        try:
            kernel(256)
        except RuntimeError as error:
            return str(error)
        return "fine"

    kernel = Kernel(bench)
    with tuneonce_on(MemoryStore()) as events:
        results = together(8, work)
    assert sorted(results) == ["CUDA error: out of memory"] + ["fine"] * 7
    assert kernel.launched == [(256, kernel.winner(256))] * 7
    assert len(events.of("tune")) == 1


def test_a_warm_up_does_not_take_the_arguments_of_a_tuning() -> None:
    with SimulatedGPU(), tuneonce_on(MemoryStore()):
        x, out = torch.arange(1024.0), torch.zeros(1024)

        def bench(call: Callable[[], Any], quantiles: Any) -> list[float]:
            call()
            # As another thread might between two candidates: it ends with `nargs = None`.
            kernel.warmup(x, out, 512, grid=(1,))
            return [1.0, 1.0, 1.0]

        kernel = triton.autotune(blocks(64, 128), ["n"], do_bench=bench)(make_copy())
        kernel[covering(1024)](x, out, 1024)
        assert kernel.best_config is kernel.configs[0]


def test_a_launch_from_a_signal_handler_in_the_middle_of_another() -> None:
    hook, _ = equivalence_lab.make_hook(MemoryStore(), policies=policies)
    assert hook.install()
    try:
        kernel, other = Kernel(), Kernel()
        kernel(0)
        # Where this thread may be when a signal comes.
        with hook._new_state, kernel.autotuner._tuneonce_state.lock:
            kernel(1)
            other(0)
    finally:
        hook.uninstall()
    assert kernel.launched == [(0, 64), (1, 128)]
    assert other.launched == [(0, 64)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_forked_during_a_tuning_tunes_for_itself() -> None:
    pause = Pause()
    pause.armed = True
    kernel = Kernel(pause)
    with tuneonce_on(MemoryStore()), ThreadPoolExecutor(1) as pool:
        tuning = pool.submit(kernel, 1)
        try:
            assert pause.reached.wait(TOO_LONG)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
                child = os.fork()
            if child == 0:
                os._exit(_tunes_alone(kernel, pause))
            _, status = os.waitpid(child, 0)
        finally:
            pause.go_on.set()
        tuning.result(TOO_LONG)
    assert os.waitstatus_to_exitcode(status) == 0


def _tunes_alone(kernel: Kernel, pause: Pause) -> int:
    """In a forked child, in which the thread that holds the kernel's lock does not exist."""
    try:
        threading.Timer(TOO_LONG, os._exit, [2]).start()
        pause.armed = False
        kernel.measured.clear()
        kernel.lock = threading.Lock()
        kernel(1)
        return 0 if len(kernel.measured) == 3 else 3
    except BaseException:
        return 4
