"""The simulated GPU: installing it, taking it away, and what it saw."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..settings import is_interpreted
from ..system.forks import renew_in_child
from .cuda import Patches, patch_torch
from .driver import Benchmarked, Handle, SimulatedDriver, Thread, make_benchmarker
from .latency import LatencyModel, Launch

_Grid = tuple[int, int, int]
_Failure = Callable[[Launch], "BaseException | None"]

# Shared memory that one block can ask for, in bytes, from NVIDIA's tables.
_MAX_SHARED = {70: 98304, 75: 65536, 80: 166912, 86: 101376, 87: 166912, 89: 101376, 120: 101376}
_HOPPER_SHARED = 232448

_installed: SimulatedGPU | None = None


class SimulatedGPU:
    """A GPU that compiles and does not compute.

    While it is installed, the real `JITFunction.run` and `Autotuner.run` work on CPU tensors
    without a GPU: the real compiler makes real binaries (kept in Triton's own disk cache), every
    launch is recorded instead of run, and benchmarks answer reproducible made-up times. Results of
    kernels are whatever was in the output tensors.

    Installing starts with a clean slate, as in a new process: loaded kernels and tuning results of
    kernels that already exist are set aside, and `uninstall` puts back them and everything else.
    One simulated GPU can be installed at a time. It works with Triton 3.4 to 3.9 and serves every
    thread of the process; processes forked from this one inherit it.

    >>> from tuneonce.testing import SimulatedGPU
    >>> with SimulatedGPU(seed=1) as gpu:  # doctest: +SKIP
    ...     my_autotuned_kernel[grid](x, y, n)
    ...     assert gpu.launches[-1].kernel == "my_autotuned_kernel"
    ...     assert gpu.best("my_autotuned_kernel").runs(my_autotuned_kernel.best_config)

    `product`, `arch` (90 = sm_90), `sm_count`, `memory_bytes`, `max_shared_mem` and `devices`
    describe the machine; `seed`, `noise` and `times` the latencies (see `LatencyModel`);
    `history` bounds the number of launches that are remembered. With `real_time` a benchmark
    takes as long as Triton's `do_bench` and a synchronisation waits for the launches before it.
    With `do_bench` the benchmarker is Triton's own, over simulated events, as on a real GPU: it
    makes hundreds of launches, and `benchmarked` stays empty.
    """

    def __init__(
        self,
        *,
        product: str = "NVIDIA H200 (simulated)",
        arch: int = 90,
        sm_count: int = 132,
        devices: int = 1,
        memory_bytes: int = 150_109_880_320,
        max_shared_mem: int | None = None,
        seed: int = 0,
        noise: float = 0.0,
        times: Callable[[Launch], float | None] | None = None,
        real_time: bool = False,
        do_bench: bool = False,
        history: int = 10_000,
    ) -> None:
        self.product = product
        self.arch = arch
        self.sm_count = sm_count
        self.devices = devices
        self.memory_bytes = memory_bytes
        self.max_shared_mem = max_shared_mem or _MAX_SHARED.get(arch, _HOPPER_SHARED)
        self.model = LatencyModel(seed=seed, noise=noise, sm_count=sm_count, times=times)
        self.real_time = real_time
        self.do_bench = do_bench
        self.benchmarked: list[Benchmarked] = []
        self.loaded = 0
        """Binaries loaded onto the simulated device so far."""

        self.history: deque[tuple[Launch, _Grid, int, bool]] = deque(maxlen=history)
        self.thread = Thread()
        self.attentive = bool(noise or real_time)
        """Whether launches must look for failures, captures and noise; off on the quick path."""
        self.replaced_driver: Any = None
        self._failures: list[_Failure] = []
        self._samples: Counter[tuple[str, _Grid]] = Counter()
        self.renew()
        renew_in_child(self)
        self._streams = itertools.count(1)
        self._patches = Patches()
        self._slate: _Slate | None = None
        self.benchmark = make_benchmarker(self)
        self.driver = SimulatedDriver(self)

    def renew(self) -> None:
        """Also in a forked child, which inherits the simulated GPU."""
        self._lock = threading.Lock()

    # Installing

    def install(self) -> SimulatedGPU:
        """Become the GPU of this process. Raises RuntimeError where that cannot work."""
        global _installed
        if _installed is not None:
            raise RuntimeError("A simulated GPU is already installed; uninstall it first.")
        if is_interpreted(os.environ):
            raise RuntimeError("The simulated GPU compiles kernels; unset TRITON_INTERPRET first.")
        from triton.runtime.driver import driver as slot

        # Reading `slot.active` would look for a real GPU, so take what is behind it.
        name = "_active" if "_active" in vars(slot) else "active"
        replaced = vars(slot)[name]
        self.replaced_driver = replaced if hasattr(type(replaced), "get_current_target") else None
        self._slate = _Slate()
        self._patches.set(slot, name, self.driver)
        try:
            import torch
        except ImportError:
            pass  # Triton works without torch, which then is not asked
        else:
            patch_torch(self, torch, self._patches)
        _installed = self
        return self

    def uninstall(self) -> None:
        """Put back what was there. Does nothing if this simulated GPU is not installed."""
        global _installed
        if _installed is not self or self._slate is None:
            return
        _installed = None
        self._slate.restore()
        self._slate = None
        self._patches.undo()

    def __enter__(self) -> SimulatedGPU:
        return self.install()

    def __exit__(self, *raised: object) -> None:
        self.uninstall()

    # What it saw

    @property
    def launches(self) -> list[Launch]:
        """The last `history` launches, oldest first, those of benchmarks among them."""
        return [
            replace(variant, grid=grid, stream=stream, captured=captured)
            for variant, grid, stream, captured in list(self.history)
        ]

    def best(self, kernel: str | None = None) -> Launch:
        """The launch that is truly the fastest of those benchmarked (of `kernel`, where given).

        With `do_bench`, of those launched. Raises ValueError if there was none.
        """
        benchmarked = (done.launch for done in self.benchmarked if not done.failed)
        launches = self.launches if self.do_bench else benchmarked
        return self.model.best(one for one in launches if one and kernel in (None, one.kernel))

    def forget(self) -> None:
        """Empty `launches` and `benchmarked`."""
        self.history.clear()
        self.benchmarked.clear()

    # What it can be made to do

    def set_current_device(self, device: int) -> None:
        """Make `device` current for the calling thread; a new thread starts with device 0."""
        self.thread.device = self.check_device(device)

    def fail(
        self, when: Callable[[Launch], bool], error: Callable[[], BaseException] | None = None
    ) -> None:
        """Let every launch fail for which `when(launch)` is true.

        `error` makes the exception; the default is Triton's OutOfResources, which a tuner has to
        survive. Use a RuntimeError with CUDA's words for one that kills the context.
        """

        def failure(launch: Launch) -> BaseException | None:
            if not when(launch):
                return None
            if error is not None:
                return error()
            from triton.runtime.errors import OutOfResources

            out: BaseException = OutOfResources(
                self.max_shared_mem + 1, self.max_shared_mem, "shared memory"
            )
            return out

        self._failures.append(failure)
        self.attentive = True

    def failure_of(self, launch: Launch) -> BaseException | None:
        """The exception that this launch must raise, or None."""
        return next((error for rule in self._failures if (error := rule(launch))), None)

    @property
    def capturing(self) -> bool:
        """Whether the calling thread captures a CUDA graph. Can be set, too."""
        return self.thread.capture is not None

    @capturing.setter
    def capturing(self, on: bool) -> None:
        self.thread.capture = [] if on else None
        self.attentive = True

    @contextlib.contextmanager
    def capture(self) -> Iterator[list[Launch]]:
        """Capture in the calling thread; the list fills with what is launched meanwhile.

        As under CUDA, benchmarking and synchronising raise RuntimeError during a capture.
        """
        self.capturing = True
        captured = self.thread.capture
        assert captured is not None
        try:
            yield captured
        finally:
            self.capturing = False

    # For the driver and torch.cuda

    def check_device(self, device: int) -> int:
        if not 0 <= device < self.devices:
            raise RuntimeError(f"CUDA error: invalid device ordinal {device}")
        return device

    def next_stream(self) -> int:
        return next(self._streams)

    def sample_ms(self, launch: Launch) -> float:
        """The next sample of a launch; each candidate and grid has a counter of its own."""
        with self._lock:
            self._samples[launch.candidate, launch.grid] += 1
            number = self._samples[launch.candidate, launch.grid]
        return self.model.sample_ms(launch, number=number)

    def replay(self, launch: Launch) -> None:
        """Launch again what a graph has captured."""
        replayed = replace(launch, captured=False)
        self.history.append((replayed, replayed.grid, replayed.stream, False))
        ms = self.sample_ms(replayed)
        self.thread.clock_ms += ms
        self.thread.unslept_ms += ms


class _Slate:
    """What kernels remember of the device they ran on, set aside until `restore`.

    Triton keeps it in the kernel objects themselves, of which there is no list, so they are looked
    for among all objects (40 ms with torch imported).
    """

    _TUNED = ("best_config", "configs_timings", "bench_time", "do_bench")

    def __init__(self) -> None:
        from triton.compiler import compiler

        self._shared_mem = compiler.max_shared_mem
        objects = _KernelObjects()
        self._loaded = [(fn, dict(fn.device_caches)) for fn in objects.functions]
        self._tuned = [
            (tuner, _cache(tuner), {n: v for n, v in vars(tuner).items() if n in self._TUNED})
            for tuner in objects.tuners
        ]
        self._clear(objects)

    def restore(self) -> None:
        self._clear(_KernelObjects())
        for fn, caches in self._loaded:
            fn.device_caches.update(caches)
        for tuner, cache, kept in self._tuned:
            if cache:
                tuner.cache.update(cache)
            vars(tuner).update(kept)

    def _clear(self, objects: _KernelObjects) -> None:
        self._shared_mem.cache_clear()
        for fn in objects.functions:
            fn.device_caches.clear()
        for tuner in objects.tuners:
            if isinstance(tuner.cache, dict):
                tuner.cache.clear()
            for name in self._TUNED:
                vars(tuner).pop(name, None)
        for binary in objects.binaries:
            # A compiled kernel of ours that a program still holds must neither be launched nor
            # unloaded through the driver that comes next.
            if isinstance(getattr(binary, "module", None), Handle):  # one is just being made
                binary.module = binary.function = None
                if "_run" in vars(binary):
                    binary._run = None


def _cache(tuner: Any) -> dict[Any, Any]:
    # Some packages' tuners keep results in an object of their own, which is left alone.
    return dict(tuner.cache) if isinstance(tuner.cache, dict) else {}


class _KernelObjects:
    """Every live JITFunction, Autotuner and CompiledKernel."""

    def __init__(self) -> None:
        from triton.compiler.compiler import CompiledKernel
        from triton.runtime.autotuner import Autotuner
        from triton.runtime.jit import JITFunction

        self.functions: list[Any] = []
        self.tuners: list[Any] = []
        self.binaries: list[Any] = []
        lists: dict[type, list[Any]] = {}
        pending: list[tuple[type, list[Any]]] = [
            (JITFunction, self.functions),
            (Autotuner, self.tuners),
            (CompiledKernel, self.binaries),
        ]
        while pending:
            kind, found = pending.pop()
            lists[kind] = found
            subclasses: list[type] = kind.__subclasses__()
            pending += [(subclass, found) for subclass in subclasses]
        for candidate in gc.get_objects():
            # By exact type: isinstance would wake lazy proxies.
            if type(candidate) in lists:
                lists[type(candidate)].append(candidate)
