"""Which of a store's records of compiled variants are read: some of every kernel.

A store may hold records of any number of kernels, worlds and keys, and only so many are read. They
are taken in turns, one of each kernel, and of a kernel one of each world, so that none fills the
list and keeps others from being read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from ..model.record_names import ROOT, kind_of
from ..model.records import Variants

# Arbitrary: keys in all, of one kernel, and records of one key; kernels and worlds that are known.
_KEYS, _KEYS_OF_KERNEL, _NAMES = 1000, 128, 256
_KERNELS, _WORLDS = 1000, 24

T = TypeVar("T")
Children = Callable[[str, int], Sequence[str]]


def variants_names(children: Children) -> Iterator[str]:
    """The names of these records; `children(prefix, limit)` lists a level of the store."""

    def folders(prefix: str, limit: int) -> list[str]:
        return sorted(name for name in children(prefix, limit) if name.endswith("/"))

    def keys_of(world: str) -> Iterator[str]:
        yield from folders(world, _KEYS_OF_KERNEL)

    def kernels_keys(kernel: str) -> Iterator[str]:
        worlds = [keys_of(world) for world in folders(kernel, _WORLDS)]
        yield from islice(in_turns(worlds), _KEYS_OF_KERNEL)

    kernels = [kernels_keys(kernel) for kernel in folders(ROOT, _KERNELS)]
    for key in islice(in_turns(kernels), _KEYS):
        yield from (name for name in children(key, _NAMES) if kind_of(name) is Variants)


def in_turns(iterators: Iterable[Iterator[T]]) -> Iterator[T]:
    """One item of each, then the next of each, until all are empty."""
    waiting = deque(iterators)
    while waiting:
        iterator = waiting.popleft()
        for item in iterator:
            yield item
            waiting.append(iterator)
            break
