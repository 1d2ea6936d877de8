"""The memory that a launch's arguments say it may write to.

A tensor is a stretch of its storage, from its first element to its last, gaps between rows
included. Tensors of one storage whose stretches overlap are one *span*: what is written through one
of them is there in the other, and is put back once. What a kernel reaches beyond its tensors, by
addresses that are in memory or by arithmetic over their ends, is not seen.

Torch is the program's own, and is never imported from here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


class Unobservable(Exception):
    """What a launch writes cannot be looked at. `reason` is a word that statistics count."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, eq=False)
class Typed:
    """A tensor's stretch of a span, in elements of its type: from a byte of the span, so many."""

    dtype: Any
    begin: int
    count: int


@dataclass(frozen=True, eq=False)
class Span:
    """Bytes of one storage, as a flat tensor of bytes that shares its memory."""

    bytes: Any
    tensors: tuple[Typed, ...]

    @property
    def size(self) -> int:
        return int(self.bytes.numel())


def tensors_of(values: Iterable[Any]) -> Iterator[Any]:
    """The tensors of a launch's arguments: in tuples, under descriptors, seen as another type.

    Raises `Unobservable` for what has an address and is no tensor of torch's.
    """
    torch: Any = sys.modules.get("torch")
    for value in values:
        if torch is not None and isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_of(value)
        elif torch is not None and isinstance(getattr(value, "base", None), torch.Tensor):
            yield value.base
        elif hasattr(value, "data_ptr"):
            raise Unobservable("no_tensor")


def spans_of(values: Iterable[Any]) -> list[Span]:
    """The spans under these arguments, of which none overlaps another.

    Raises `Unobservable`.
    """
    found: dict[tuple[str, int], tuple[Any, dict[tuple[int, int, Any], None]]] = {}
    for tensor in tensors_of(values):
        if tensor.numel() == 0:
            continue
        try:
            storage = tensor.untyped_storage()
            place = (str(tensor.device), storage.data_ptr())
        except (RuntimeError, NotImplementedError, AttributeError):  # a subclass with no memory
            raise Unobservable("no_memory") from None
        if tensor.device.type == "meta" or place[1] == 0:
            raise Unobservable("no_memory")
        size = tensor.element_size()
        begin = tensor.storage_offset() * size
        last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        end = begin + (last + 1) * size
        found.setdefault(place, (storage, {}))[1][begin, end, tensor.dtype] = None
    # Torch orders what it does by device; what is on a host is waited for.
    if len({device for device, _ in found if not device.startswith("cpu")}) > 1:
        raise Unobservable("several_devices")
    return [
        _span(sys.modules["torch"], storage, group)
        for storage, stretches in found.values()
        for group in _overlapping(stretches)
    ]


def _overlapping(stretches: Iterable[tuple[int, int, Any]]) -> list[list[tuple[int, int, Any]]]:
    """The stretches in groups of which none overlaps another."""
    groups: list[list[tuple[int, int, Any]]] = []
    until = 0
    for stretch in sorted(stretches, key=lambda one: one[:2]):
        if groups and stretch[0] < until:
            groups[-1].append(stretch)
        else:
            groups.append([stretch])
        until = max(until, stretch[1]) if len(groups[-1]) > 1 else stretch[1]
    return groups


def _span(torch: Any, storage: Any, group: list[tuple[int, int, Any]]) -> Span:
    begin, end = group[0][0], max(stretch[1] for stretch in group)
    flat = torch.empty(0, dtype=torch.uint8, device=storage.device)
    flat.set_(storage, begin, (end - begin,), (1,))
    return Span(
        flat,
        tuple(
            Typed(dtype, first - begin, (last - first) // dtype.itemsize)
            for first, last, dtype in group
        ),
    )


def typed(data: Any, tensor: Typed) -> Any:
    """The elements of a tensor in the bytes of its span, or in a copy of these."""
    size = tensor.dtype.itemsize
    part = data[tensor.begin : tensor.begin + size * tensor.count]
    # Among tensors of several types one may begin where its type cannot.
    return (part.clone() if part.storage_offset() % size else part).view(tensor.dtype)
