"""Looks at what the candidates of one key write, each launched twice on the same inputs.

The first candidate finds out which memory is written to; from then on only that is put back, before
each launch. What changes before the first launch is somebody else's, and stays. What a launch wrote
is looked at before the autotuner's post-hook, which may restore it. What is kept of it is a digest,
and for a few candidates a copy that the others are compared with.

Bounds: all copies together take as much memory as `room_for` says, and looking takes no more than
its share of the time of the tuning. Where that does not suffice, or the memory cannot be looked at,
candidates are left out, and there is a word for the reason.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ....tuning.numerics import Panel, far_beyond
from ..device_timer import out_of_memory
from ..result import device_failure
from .bits import digest_of
from .references import References
from .snapshot import Snapshot
from .spans import Span, Unobservable, spans_of

Launch = Callable[[Callable[[], None]], None]
"""Launches a candidate, and calls what it is given as soon as the outputs are there."""

# Copies take so many bytes at most, four times what Triton overwrites between two launches that it
# times, and no more than a part of what is free.
MOST_BYTES = 1 << 30
_PART_OF_FREE = 4
# So many seconds may be spent on looks whatever the share.
_FREELY_S = 0.05


def room_for(spans: Sequence[Span]) -> int:
    """How many bytes copies of these spans may take."""
    torch: Any = sys.modules["torch"]
    room = MOST_BYTES
    for device in {span.bytes.device for span in spans}:
        told = getattr(getattr(torch, device.type, None), "mem_get_info", None)
        if told is not None:
            room = min(room, told(device)[0] // _PART_OF_FREE)
    return room


@dataclass
class _Output:
    """What one launch wrote; a `copy` where it is far from all references."""

    bits: str
    distances: dict[int, float]
    copy: list[Any] | None = None


class Looks:
    """The looks of one tuning.

    `values` are the arguments of the launch. No look is begun once looks have taken a larger
    `share` of the time since the tuning began. `synchronize` waits for the device. `on_error` hears
    of errors that are neither the device's nor for want of memory, and may raise them. Raises
    `Unobservable` where there is nothing to look at.
    """

    def __init__(
        self,
        values: Iterable[Any],
        *,
        share: float,
        synchronize: Callable[[], None] = lambda: None,
        on_error: Callable[[Exception], None],
        clock: Callable[[], float] = time.perf_counter,
        room: Callable[[Sequence[Span]], int] = room_for,
    ) -> None:
        self._clock, self._began, self._share = clock, clock(), share
        self._synchronize, self._on_error = synchronize, on_error
        self.left_out: str | None = None
        """Why candidates are not looked at any more."""
        self.seconds = 0.0
        """What looking has taken, the first launch of each candidate aside."""
        spans = spans_of(values)
        if not spans:
            raise Unobservable("no_tensors")
        tensors = [tensor for span in spans for tensor in span.tensors]
        self.far = far_beyond(
            [_width(tensor.dtype) for tensor in tensors], max(tensor.count for tensor in tensors)
        )
        """Beyond which distance outputs are far apart; None where distances say nothing."""
        self.panel = Panel[int](self.far)
        self._spans = spans
        self._snapshot: Snapshot | None = None
        self._references: References | None = None
        self._room = room(spans)
        if sum(span.size for span in spans) > self._room:
            raise Unobservable("too_large")

    @property
    def size(self) -> int:
        """How many bytes candidates write to; 0 as long as that is not known."""
        return 0 if self._snapshot is None or self._references is None else self._snapshot.size

    def of(self, candidate: int, launch: Launch) -> None:
        """Launch a candidate and look at what it writes. Raises what its launches raise."""
        if self.left_out is None and self.seconds > self._affordable():
            self.release("time")
        try:
            first = self._launch(launch)
            if first is not None:
                with self._timed():
                    again = self._launch(launch)
                if again is not None:
                    self._take(candidate, first, again)
        except Exception as error:
            if out_of_memory(error):
                self.release("memory")
            raise

    def release(self, reason: str = "over") -> None:
        """Give back all memory; nothing is looked at from here on."""
        self.left_out = self.left_out or reason
        if self._references is not None:
            self._references.clear()
        self._snapshot = None

    def _affordable(self) -> float:
        return max(_FREELY_S, self._share * (self._clock() - self._began))

    def _launch(self, launch: Launch) -> _Output | None:
        """Launch on the inputs that all have. None: it could not be looked at."""
        outputs: list[_Output] = []
        looked = False

        def look() -> None:
            nonlocal looked
            if looked or self.left_out is not None:
                return
            looked = True
            self._synchronize()  # raises what the launch itself has caused
            with self._looking():
                outputs.extend(self._outputs())

        if self.left_out is None:
            self._synchronize()
            with self._looking():
                self._prepare()
        launch(look)
        look()  # an autotuner of the program's own may call no post-hook
        return outputs[0] if outputs else None

    def _prepare(self) -> None:
        """Have the next launch find the inputs that all have."""
        if self._snapshot is None or self._references is None:  # what is written to is not known
            self._snapshot = None  # nor are there two at a time
            self._snapshot = Snapshot(self._spans)
        else:
            self._snapshot.put_back()

    def _outputs(self) -> list[_Output]:
        """What is written now; nothing if that is nothing at all."""
        snapshot = self._snapshot
        assert snapshot is not None
        if self._references is None:
            written = snapshot.changed()
            if not written:
                self.release("nothing_written")
                return []
            snapshot.narrow(written)
            read = [span for span in self._spans if span not in written]
            self._references = References(written, read)
        bits = digest_of(*(span.bytes for span in snapshot.spans))
        found = _Output(bits, self._references.distances(bits))
        copies = 2 + len(self.panel.references)
        if self.panel.is_new(found.distances) and copies * snapshot.size <= self._room:
            found.copy = self._references.copy()
        return [found]

    def _take(self, candidate: int, first: _Output, again: _Output) -> None:
        distances = {
            one: max(first.distances[one], again.distances[one]) for one in first.distances
        }
        kept = self.panel.add(
            candidate,
            first.bits,
            steady=first.bits == again.bits,
            distances=distances,
            room=first.copy is not None,
        )
        if kept and self._references is not None and first.copy is not None:
            self._references.keep(candidate, first.bits, first.copy)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """What is done inside counts as looking."""
        began, before = self._clock(), self.seconds
        try:
            yield
        finally:
            self.seconds = before + self._clock() - began

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """An error inside ends the looking, and not the tuning, unless it is the device's."""
        try:
            with self._timed():
                yield
        except Exception as error:
            lacking = out_of_memory(error)
            self.release("memory" if lacking else "error")
            if lacking:
                return
            if device_failure(error) is not None:
                raise
            self._on_error(error)


def _width(dtype: Any) -> int:
    """The bits of a floating-point type, or of one that may hold some: bytes may be float8."""
    torch: Any = sys.modules["torch"]
    if dtype.is_complex:
        return int(dtype.itemsize) * 4
    may_be_float = dtype.is_floating_point or dtype in (torch.int8, torch.uint8)
    return int(dtype.itemsize) * 8 if may_be_float else 0
