"""The simulated GPU's Triton driver: what `triton.runtime.driver.active` is while it is installed.

Written against the protocol of Triton 3.4 to 3.9: `CompiledKernel._init_handles` asks for a
launcher and loads the binary, `JITFunction.run` calls that launcher for every launch, `Autotuner`
asks for a benchmarker.
"""

from __future__ import annotations

import itertools
import operator
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..tuning.quantiles import quantile
from .latency import Launch

if TYPE_CHECKING:
    from .gpu import SimulatedGPU

_CAPTURING = "CUDA error: operation not permitted when stream is capturing"
_Grid = tuple[int, int, int]


class Handle(int):
    """A made-up module or function handle; its type tells it from a real driver's."""


class Thread(threading.local):
    """What CUDA keeps per thread, and the simulated device time that the thread has used."""

    device = 0
    stream = 0
    clock_ms = 0.0
    unslept_ms = 0.0
    capture: list[Launch] | None = None
    watch: list[Launch] | None = None


@dataclass(frozen=True)
class Benchmarked:
    """One call of the benchmarker, in the order of `SimulatedGPU.benchmarked`.

    `launch` is the last launch that the benchmarked function made, None if it made none; `samples`
    is how many times were drawn; `failed` says why there are none.
    """

    launch: Launch | None
    samples: int
    median_ms: float
    failed: str | None = None

    @property
    def kernel(self) -> str | None:
        return self.launch.kernel if self.launch else None

    @property
    def candidate(self) -> str | None:
        return self.launch.candidate if self.launch else None


class SimulatedDriver:
    """A Triton driver without a device. Tensors stay on the CPU and kernels do not run."""

    def __init__(self, gpu: SimulatedGPU) -> None:
        self._gpu = gpu
        self._thread = gpu.thread
        self._handles = itertools.count(0x1000)
        self.utils = SimpleNamespace(
            load_binary=self._load_binary,
            unload_module=self._unload_module,
            get_device_properties=self._get_device_properties,
            get_device_capability=self.get_device_capability,
            get_current_device=self.get_current_device,
            set_current_device=self.set_current_device,
            get_default_stream=lambda device=0: 0,
            is_stream_capturing=lambda stream=0: gpu.capturing,
            cuOccupancyMaxActiveClusters=lambda *args: gpu.sm_count,
            set_printf_fifo_size=lambda size: None,
        )

    @staticmethod
    def is_active() -> bool:
        return True

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self._gpu.arch, 32)

    def get_current_device(self) -> int:
        return self._thread.device

    def set_current_device(self, device: int) -> None:
        self._thread.device = self._gpu.check_device(device)

    def get_current_stream(self, device: int | None = None) -> int:
        return self._thread.stream

    def get_device_capability(self, device: int | None = None) -> tuple[int, int]:
        return divmod(self._gpu.arch, 10)

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        import torch

        return torch.cuda

    def get_empty_cache_for_benchmark(self) -> None:
        return None

    def clear_cache(self, cache: object) -> None:
        return None

    def map_python_to_cpp_type(self, ty: str) -> str:
        from triton.backends.nvidia.driver import ty_to_cpp

        text: str = ty_to_cpp(ty)
        return text

    def assemble_tensormap_to_arg(self, tensormaps_info: object, args: Any) -> Any:
        return args

    def allocate_default_profile_scratch(self, size: int, alignment: int, stream: int) -> None:
        return None

    def launcher_cls(self, src: Any, metadata: Any) -> Callable[..., None]:
        """Called by Triton once per compiled variant and device, with that device current."""
        return launcher(self._gpu, describe(src, metadata, device=self._thread.device))

    def get_benchmarker(self) -> Callable[..., Any]:
        if self._gpu.do_bench:
            from triton.testing import do_bench

            return do_bench
        return self._gpu.benchmark

    def _load_binary(
        self, name: str, kernel: bytes, shared: int, device: int
    ) -> tuple[Handle, Handle, int, int, int]:
        """Module, function, registers, spills and threads per block, as the CUDA driver answers."""
        self._gpu.loaded += 1
        return Handle(next(self._handles)), Handle(next(self._handles)), 32, 0, 1024

    def _unload_module(self, module: object) -> None:
        # A kernel of the driver that was active before may be collected while we are installed.
        if not isinstance(module, Handle) and self._gpu.replaced_driver is not None:
            self._gpu.replaced_driver.utils.unload_module(module)

    def _get_device_properties(self, device: int = 0) -> dict[str, int]:
        self._gpu.check_device(device)
        return {
            "max_shared_mem": self._gpu.max_shared_mem,
            "max_num_regs": 65536,
            "multiprocessor_count": self._gpu.sm_count,
            "warpSize": 32,
            "sm_clock_rate": 1_980_000,
            "mem_clock_rate": 3_201_000,
            "mem_bus_width": 6144,
        }


def describe(src: Any, metadata: Any, *, device: int) -> Launch:
    """A compiled variant as a launch whose grid and stream are still to come.

    `src` is Triton's `ASTSource` (or an `IRSource`, which knows no constants).
    """
    fn = getattr(src, "fn", None)
    constants = {}
    for path, value in getattr(src, "constants", {}).items():
        if isinstance(path, str):
            constants[path] = value
        else:
            # A path is (argument number, index within a tuple argument, ...).
            name = ".".join([fn.arg_names[path[0]], *map(str, path[1:])]) if fn else str(path)
            constants[name] = value
    return Launch(
        kernel=getattr(fn, "__name__", None) or metadata.name,
        module=getattr(fn, "__module__", None) or "",
        constants=constants,
        num_warps=metadata.num_warps,
        num_stages=getattr(metadata, "num_stages", 3),
        num_ctas=getattr(metadata, "num_ctas", 1),
        maxnreg=getattr(metadata, "maxnreg", None),
        device=device,
    )


def launcher(gpu: SimulatedGPU, variant: Launch) -> Callable[..., None]:
    """The function that Triton calls for each launch of `variant`.

    It is on the path that launch overhead is measured on, so the usual launch is a dictionary
    lookup, an addition and an append; whatever else is asked for takes the other branch.
    """
    times: dict[_Grid, float] = {}
    thread = gpu.thread
    record = gpu.history.append

    def first(grid: _Grid) -> float:
        """The time of a grid that was not launched before, after the checks that CUDA makes."""
        x, y, z = map(operator.index, grid)
        if x > 2**31 - 1 or y > 65535 or z > 65535 or min(x, y, z) < 0:
            raise RuntimeError("Triton Error [CUDA]: invalid argument")
        return times.setdefault(grid, gpu.model.ms(variant.at(grid=(x, y, z))))

    def launch(
        x: int,
        y: int,
        z: int,
        stream: int,
        function: object,
        packed_metadata: object,
        launch_metadata: object,
        enter_hook: Callable[[object], object] | None,
        exit_hook: Callable[[object], object] | None,
        *args: object,
    ) -> None:
        if enter_hook is not None:
            enter_hook(launch_metadata)
        grid = (x, y, z)
        ms = times.get(grid)
        if ms is None:
            ms = first(grid)
        if x * y * z > 0:  # CUDA's launcher also leaves an empty grid out
            if gpu.attentive:
                attend(grid, stream, ms)
            else:
                thread.clock_ms += ms
                record((variant, grid, stream, False))
            if thread.watch is not None:
                thread.watch.append(variant_at(grid, stream))
        if exit_hook is not None:
            exit_hook(launch_metadata)

    def variant_at(grid: _Grid, stream: int) -> Launch:
        return replace(variant, grid=grid, stream=stream, captured=thread.capture is not None)

    def attend(grid: _Grid, stream: int, ms: float) -> None:
        """A launch that may fail, is captured, or has noise on its time."""
        full = variant_at(grid, stream)
        if (error := gpu.failure_of(full)) is not None:
            if thread.watch is not None:
                thread.watch.append(full)
            try:
                raise error
            finally:
                del error  # with its traceback it would keep the caller's tensors
        record((variant, grid, stream, full.captured))
        if thread.capture is not None:
            thread.capture.append(full)
            return
        if gpu.model.noise:
            ms = gpu.sample_ms(full)
        thread.clock_ms += ms
        thread.unslept_ms += ms

    return launch


def make_benchmarker(gpu: SimulatedGPU) -> Callable[..., Any]:
    """A stand-in for `triton.testing.do_bench`, with its signature and its answers.

    It calls the function once and answers with the model's times of the launches that this call
    made. Raises what the function raises, and what CUDA raises during a capture.
    """
    thread = gpu.thread

    def benchmark(
        fn: Callable[[], object],
        warmup: float = 25,
        rep: float = 100,
        grad_to_none: object = None,
        quantiles: Sequence[float] | None = None,
        return_mode: str = "mean",
    ) -> Any:
        if thread.capture is not None:
            raise RuntimeError(_CAPTURING)
        before, thread.watch = thread.watch, []
        try:
            fn()
            launches = thread.watch
        except Exception as error:
            last = thread.watch[-1] if thread.watch else None
            gpu.benchmarked.append(Benchmarked(last, 0, float("inf"), failed=repr(error)))
            raise
        finally:
            thread.watch = before
        if gpu.real_time:
            time.sleep((warmup + rep) / 1000)
        # As many samples as do_bench would take, but not the thousands that change nothing.
        true_ms = sum(map(gpu.model.ms, launches))
        count = max(1, min(100, int(rep / true_ms))) if true_ms else 1
        drawn = count if gpu.model.noise else 1
        times = sorted(sum(map(gpu.sample_ms, launches)) for _ in range(drawn))
        gpu.benchmarked.append(
            Benchmarked(launches[-1] if launches else None, count, quantile(times, 0.5))
        )
        if quantiles is not None:
            answers = [quantile(times, q) for q in quantiles]
            return answers[0] if len(answers) == 1 else answers
        if return_mode == "all":
            return times
        summaries = {
            "min": times[0],
            "max": times[-1],
            "mean": sum(times) / len(times),
            "median": quantile(times, 0.5),
        }
        return summaries[return_mode]

    return benchmark
