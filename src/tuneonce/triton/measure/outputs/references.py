"""Copies of what a few candidates wrote, for the others to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....tuning.numerics import CANCELS
from .distance import NONE, distance, farther, is_comparable, scale_of
from .spans import Span, typed


class References:
    """Of the spans that are written to, beside those that are only read."""

    def __init__(self, written: Sequence[Span], read: Sequence[Span]) -> None:
        self._written = tuple(written)
        scales = [
            scale_of(typed(span.bytes, tensor))
            for span in read
            for tensor in span.tensors
            if is_comparable(tensor.dtype)
        ]
        self._floor = CANCELS * max(scales, default=0.0)
        self._held: dict[int, tuple[str, list[Any]]] = {}

    def distances(self, bits: str) -> dict[int, float]:
        """How far what is written now, of this digest, is from each reference: its worst block."""
        return {
            one: 0.0 if bits == theirs else self._distance(held)
            for one, (theirs, held) in self._held.items()
        }

    def copy(self) -> list[Any]:
        """What is written now."""
        return [span.bytes.clone() for span in self._written]

    def keep(self, candidate: int, bits: str, copy: list[Any]) -> None:
        self._held[candidate] = bits, copy

    def clear(self) -> None:
        self._held.clear()

    def _distance(self, held: Sequence[Any]) -> float:
        found = NONE
        for span, reference in zip(self._written, held, strict=True):
            for tensor in span.tensors:
                if is_comparable(tensor.dtype):
                    now = typed(span.bytes, tensor)
                    apart = distance(typed(reference, tensor), now, floor=self._floor)
                    found = farther(found, apart)
        return found.block
