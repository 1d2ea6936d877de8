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

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from ...system.forks import renew_in_child
from ..kernel import nvml
from ..seams import drivers, probing
from ..seams.seam import Feature
from .benchmark import whose_benchmark

Token = TypeVar("Token")
Pair = tuple[Any, Any]

# So many launches of one device are timed at once, those of all keys together. Arbitrary: a
# process is seldom farther ahead of its device, and an event takes less than a kilobyte.
MOST_UNDER_WAY = 256


def tells_times(autotuner: Any) -> bool:
    """Whether events tell how long this kernel's launches take.

    Where whoever wrote the kernel, the program or the backend measures by something else, there is
    a reason for that; under Confidential Computing events are known to be wrong.
    """
    if whose_benchmark(autotuner) != "tritons" or probing.missing(Feature.DEVICE_TIMER):
        return False
    return not nvml.is_confidential()


class LaunchEvents(Generic[Token]):
    """The events of one process. Thread-safe: nothing of it is held while anything is called."""

    def __init__(self, most: int = MOST_UNDER_WAY) -> None:
        self._most = most
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, to which a parent's events mean nothing."""
        self._event: Any = None
        self._free: dict[Any, list[Pair]] = defaultdict(list)
        self._under_way: dict[Any, deque[tuple[Pair, Token]]] = defaultdict(deque)

    def begin(self, device: Any) -> Pair | None:
        """Before the launch, on the current stream of the current device; None: not this one."""
        free = self._free[device]
        try:
            pair = free.pop()
        except IndexError:
            if len(self._under_way[device]) >= self._most:
                return None
            pair = self._make()
        pair[0].record()
        return pair

    def end(self, device: Any, pair: Pair, token: Token) -> None:
        """After the launch; `token` says later whose time it is."""
        pair[1].record()
        self._under_way[device].append((pair, token))

    def give_back(self, device: Any, pair: Pair) -> None:
        """The launch was none."""
        self._free[device].append(pair)

    def finished(self, device: Any, most: int = 2) -> Iterator[tuple[Token, float]]:
        """Launches that the device has finished, with their times in milliseconds."""
        under_way = self._under_way[device]
        for _ in range(most):
            try:
                found = under_way.popleft()
            except IndexError:
                return
            pair, token = found
            if not pair[1].query():
                under_way.appendleft(found)
                return
            ms = pair[0].elapsed_time(pair[1])
            self._free[device].append(pair)
            yield token, ms

    def _make(self) -> Pair:
        if self._event is None:
            self._event = drivers.device_interface(drivers.active()).Event
        return self._event(enable_timing=True), self._event(enable_timing=True)
