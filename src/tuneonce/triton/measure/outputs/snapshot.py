"""What memory held before the first candidate ran, and how it is put back.

Of all spans as long as it is not known which of them are written to, then of these alone. To put a
span back writes over what anybody else has written there meanwhile, as ``restore_value`` does, so
what candidates only read is never put back.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .spans import Span

# Bytes compared at a time, which takes as many beside them.
_CHUNK = 1 << 26


class Snapshot:
    """Copies of these spans, made on their device and in the order of its current stream."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = tuple(spans)
        self._held = [span.bytes.clone() for span in spans]

    @property
    def size(self) -> int:
        """Bytes that the copies take."""
        return sum(span.size for span in self.spans)

    def changed(self) -> list[Span]:
        """The spans that do not hold any more what they held."""
        pairs = zip(self.spans, self._held, strict=True)
        return [span for span, held in pairs if not _equal(span.bytes, held)]

    def narrow(self, spans: Sequence[Span]) -> None:
        """Only these are put back from here on; the copies of the others are given up."""
        kept = [
            (span, held)
            for span, held in zip(self.spans, self._held, strict=True)
            if any(span is one for one in spans)
        ]
        self.spans = tuple(span for span, _ in kept)
        self._held = [held for _, held in kept]

    def put_back(self) -> None:
        for span, held in zip(self.spans, self._held, strict=True):
            span.bytes.copy_(held)


def _equal(one: Any, other: Any) -> bool:
    torch: Any = sys.modules["torch"]
    return all(
        torch.equal(one[begin : begin + _CHUNK], other[begin : begin + _CHUNK])
        for begin in range(0, one.numel(), _CHUNK)
    )
