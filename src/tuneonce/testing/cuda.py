"""What `torch.cuda` answers while a simulated GPU is installed.

Only what libraries of Triton kernels ask for at import and at a call: is there a device, what is
it, streams, events, graphs, capture. Tensors stay on the CPU: `torch.empty(..., device="cuda")`
fails as before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .latency import Launch

if TYPE_CHECKING:
    from .gpu import SimulatedGPU

_CAPTURING = "CUDA error: operation not permitted when stream is capturing"
_ABSENT = object()


class Patches:
    """Attributes that were replaced, and what was there."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        self._undo.append((owner, name, vars(owner).get(name, _ABSENT)))
        setattr(owner, name, value)

    def undo(self) -> None:
        while self._undo:
            owner, name, value = self._undo.pop()
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


@dataclass(frozen=True)
class DeviceProperties:
    """The fields of torch's `_CudaDeviceProperties` that kernels read; bytes, kHz and bits."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    shared_memory_per_block_optin: int
    shared_memory_per_block: int = 49152
    shared_memory_per_multiprocessor: int = 233472
    max_threads_per_multi_processor: int = 2048
    max_threads_per_block: int = 1024
    regs_per_multiprocessor: int = 65536
    warp_size: int = 32
    L2_cache_size: int = 52428800
    clock_rate: int = 1_980_000
    memory_clock_rate: int = 3_201_000
    memory_bus_width: int = 6144
    is_integrated: int = 0
    is_multi_gpu_board: int = 0
    uuid: str = "00000000-0000-0000-0000-000000000000"
    pci_bus_id: int = 0


def patch_torch(gpu: SimulatedGPU, torch: Any, patches: Patches) -> None:
    """Make `torch.cuda` answer for `gpu` until `patches.undo()`."""
    thread = gpu.thread

    def index(device: Any = None) -> int:
        """A device as torch accepts it. A CPU device means the current one: where tensors are."""
        if isinstance(device, str):
            device = torch.device(device)
        if device is not None and not isinstance(device, int):
            device = device.index if device.type == "cuda" else None
        return thread.device if device is None else gpu.check_device(device)

    def set_device(device: Any) -> None:
        thread.device = index(device)

    def get_device_properties(device: Any = None) -> DeviceProperties:
        index(device)
        major, minor = divmod(gpu.arch, 10)
        return DeviceProperties(
            name=gpu.product,
            major=major,
            minor=minor,
            total_memory=gpu.memory_bytes,
            multi_processor_count=gpu.sm_count,
            shared_memory_per_block_optin=gpu.max_shared_mem,
        )

    def get_device_name(device: Any = None) -> str:
        index(device)
        return gpu.product

    def get_device_capability(device: Any = None) -> tuple[int, int]:
        index(device)
        return divmod(gpu.arch, 10)

    def synchronize(device: Any = None) -> None:
        if gpu.capturing:
            raise RuntimeError(_CAPTURING)
        _catch_up(gpu)

    class DeviceContext:
        """`torch.cuda.device(...)`; None and negative numbers change nothing."""

        def __init__(self, device: Any) -> None:
            keep = isinstance(device, int) and device < 0
            self.idx = thread.device if keep else index(device)
            self.prev_idx = -1

        def __enter__(self) -> None:
            self.prev_idx, thread.device = thread.device, self.idx

        def __exit__(self, *error: object) -> None:
            thread.device = self.prev_idx

    event = _event_type(gpu)
    stream, stream_context = _stream_types(gpu, event)
    graph, graph_context = _graph_types(gpu)
    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: gpu.devices,
        "current_device": lambda: thread.device,
        "set_device": set_device,
        "get_device_properties": get_device_properties,
        "get_device_name": get_device_name,
        "get_device_capability": get_device_capability,
        "get_arch_list": lambda: [f"sm_{gpu.arch}"],
        "mem_get_info": lambda device=None: (gpu.memory_bytes, gpu.memory_bytes),
        "is_bf16_supported": lambda including_emulation=True: True,
        "synchronize": synchronize,
        "empty_cache": lambda: None,
        "device": DeviceContext,
        "Stream": stream,
        "ExternalStream": stream,
        "stream": stream_context,
        "current_stream": lambda device=None: stream(handle=thread.stream),
        "default_stream": lambda device=None: stream(handle=0),
        "Event": event,
        "CUDAGraph": graph,
        "graph": graph_context,
        "is_current_stream_capturing": lambda: gpu.capturing,
    }
    for name, value in cuda.items():
        patches.set(torch.cuda, name, value)
    patches.set(torch.cuda.graphs, "is_current_stream_capturing", lambda: gpu.capturing)
    patches.set(torch._C, "_cuda_getCurrentRawStream", lambda device: thread.stream)
    if torch.version.cuda is None:
        patches.set(torch.version, "cuda", "0.0")


def _catch_up(gpu: SimulatedGPU) -> None:
    """Wait as long as this thread's launches would still take, if the simulation keeps time."""
    waited, gpu.thread.unslept_ms = gpu.thread.unslept_ms, 0.0
    if gpu.real_time:
        time.sleep(waited / 1000)


def _stream_types(gpu: SimulatedGPU, event_type: Any) -> tuple[Any, Any]:
    thread = gpu.thread

    class Stream:
        """Streams have handles and nothing else: a thread's launches run one after another."""

        def __init__(self, device: Any = None, priority: int = 0, *, handle: int | None = None):
            self.cuda_stream = gpu.next_stream() if handle is None else handle
            self.device_index = thread.device

        def synchronize(self) -> None:
            if gpu.capturing:
                raise RuntimeError(_CAPTURING)
            _catch_up(gpu)

        def query(self) -> bool:
            return True

        def wait_stream(self, stream: object) -> None: ...

        def wait_event(self, event: object) -> None: ...

        def record_event(self, event: Any = None) -> Any:
            event = event_type() if event is None else event
            event.record(self)
            return event

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Stream) and self.cuda_stream == other.cuda_stream

        def __hash__(self) -> int:
            return hash(self.cuda_stream)

    class StreamContext:
        def __init__(self, stream: Stream | None) -> None:
            self.stream = stream
            self.before = 0

        def __enter__(self) -> None:
            self.before = thread.stream
            if self.stream is not None:
                thread.stream = self.stream.cuda_stream

        def __exit__(self, *error: object) -> None:
            thread.stream = self.before

    return Stream, StreamContext


def _event_type(gpu: SimulatedGPU) -> Any:
    class Event:
        """An event that holds the simulated device time of the thread that recorded it."""

        def __init__(self, enable_timing: bool = False, blocking: bool = False, **options: object):
            self.at_ms: float | None = None

        def record(self, stream: object = None) -> None:
            self.at_ms = gpu.thread.clock_ms

        def query(self) -> bool:
            if gpu.capturing:
                raise RuntimeError(_CAPTURING)
            return True

        def wait(self, stream: object = None) -> None: ...

        def synchronize(self) -> None:
            if gpu.capturing:
                raise RuntimeError(_CAPTURING)
            _catch_up(gpu)

        def elapsed_time(self, end_event: Event) -> float:
            if self.at_ms is None or end_event.at_ms is None:
                raise ValueError("Both events must be recorded before calculating elapsed time.")
            return end_event.at_ms - self.at_ms

    return Event


def _graph_types(gpu: SimulatedGPU) -> tuple[Any, Any]:
    class CUDAGraph:
        """Holds the launches of its capture; a replay makes them again."""

        def __init__(self, keep_graph: bool = False) -> None:
            self.launches: list[Launch] = []

        def replay(self) -> None:
            for launch in self.launches:
                gpu.replay(launch)

        def reset(self) -> None:
            self.launches = []

    class graph:
        def __init__(self, cuda_graph: CUDAGraph, pool: Any = None, **options: object) -> None:
            self.cuda_graph = cuda_graph
            self.capture: Callable[[], Any] = gpu.capture
            self.context: Any = None

        def __enter__(self) -> CUDAGraph:
            self.context = self.capture()
            self.cuda_graph.launches = self.context.__enter__()
            return self.cuda_graph

        def __exit__(self, *error: Any) -> None:
            self.context.__exit__(*error)

    return CUDAGraph, graph
