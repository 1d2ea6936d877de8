"""Times of a program's own launches, by events that are read later: nobody waits for a device.

A launch is put between two events of a pool. Whether the device has come past the second is asked
at later launches, one or two at a time. What is under way is bounded; a launch beyond that is not
timed.

The time between two events holds, beside the kernel, what the device waits for it when it has
nothing else to do: some microseconds of Python. Both candidates that are compared have that in
common, so of very short kernels on an idle device fewer differences are seen than there are.

Nothing of this may be called while the calling thread captures a CUDA graph.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

from ...system.forks import renew_in_child
from ..kernel import nvml
from ..seams import drivers, probing
from ..seams.seam import Feature
from .benchmark import whose_benchmark

Token = TypeVar("Token")
Pair = tuple[Any, Any]
Begun = tuple[Pair, Any]
"""The events of a launch, and the stream that it goes to; None if the events ask for it."""

# So many launches of one device are timed at once, those of all keys together. Arbitrary: a
# process is seldom farther ahead of its device, and an event takes less than a kilobyte.
MOST_UNDER_WAY = 256
# So many streams of a device are remembered. Arbitrary: a process seldom has as many.
_MOST_STREAMS = 64


def tells_times(autotuner: Any) -> bool:
    """Whether events tell how long this kernel's launches take.

    Where whoever wrote the kernel, the program or the backend measures by something else, there is
    a reason for that; under Confidential Computing events are known to be wrong.
    """
    if whose_benchmark(autotuner) != "tritons" or probing.missing(Feature.DEVICE_TIMER):
        return False
    return not nvml.is_confidential()


class Lane(Generic[Token]):
    """The events of one device. Thread-safe: nothing is held while anything is called."""

    __slots__ = ("_device", "_free", "_interface", "_most", "_streams", "_under_way")

    def __init__(self, most: int, device: Any) -> None:
        self._most, self._device = most, device
        self._interface: Any = None
        self._streams: dict[Any, Any] = {}
        self._free: list[Pair] = []
        self._under_way: deque[tuple[Pair, Token]] = deque()

    def begin(self) -> Begun | None:
        """Before the launch, on the current stream of the device; None: not this one."""
        try:
            pair = self._free.pop()
        except IndexError:
            if len(self._under_way) >= self._most:
                return None
            pair = self._make()
        stream = self._stream()
        if stream is None:
            pair[0].record()
        else:
            pair[0].record(stream)
        return pair, stream

    def end(self, begun: Begun, token: Token) -> None:
        """After the launch; `token` says later whose time it is."""
        pair, stream = begun
        if stream is None:
            pair[1].record()
        else:
            pair[1].record(stream)
        self._under_way.append((pair, token))

    def give_back(self, begun: Begun) -> None:
        """The launch was none."""
        self._free.append(begun[0])

    def finished(self) -> tuple[Token, float] | None:
        """The next launch that the device has finished, with its time in milliseconds."""
        if not self._under_way:  # most often so: an exception takes longer
            return None
        try:
            found = self._under_way.popleft()
        except IndexError:  # another thread was faster
            return None
        pair, token = found
        if not pair[1].query():
            self._under_way.appendleft(found)
            return None
        ms = pair[0].elapsed_time(pair[1])
        self._free.append(pair)
        return token, ms

    def _make(self) -> Pair:
        if self._interface is None:
            self._interface = drivers.device_interface(drivers.active())
        event = self._interface.Event
        return event(enable_timing=True), event(enable_timing=True)

    def _stream(self) -> Any:
        """The current stream as torch has it; None if it is not asked for like this.

        Two events that look it up by themselves take 12 microseconds on an H200, two that are given
        it 3.4; making its object is 5 of them, so that is kept by what Triton calls the stream.
        """
        handle = drivers.current_stream(self._device)
        if handle not in self._streams:
            if len(self._streams) >= _MOST_STREAMS:
                self._streams.clear()
            current = getattr(self._interface, "current_stream", None)
            self._streams[handle] = None if current is None else current()
        return self._streams.get(handle)


class LaunchEvents(Generic[Token]):
    """The events of one process, by device."""

    def __init__(self, most: int = MOST_UNDER_WAY) -> None:
        self._most = most
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, to which a parent's events mean nothing."""
        self._lanes: dict[Any, Lane[Token]] = {}

    def of(self, device: Any) -> Lane[Token]:
        """Those of a device, by its number."""
        return self._lanes.setdefault(device, Lane(self._most, device))
