"""In which order variants of several kernels are compiled ahead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tuneonce.triton.compile.needed_variants import NeededVariant, longest_first

A, B, C = "first kernel", "second kernel", "third kernel"


def variant(kernel: str, seconds: float) -> Any:
    source: Any = SimpleNamespace(fn=kernel)
    texts: Any = None
    return NeededVariant(source, {}, texts, seconds)


def test_what_takes_longest_goes_first() -> None:
    found = [variant(*one) for one in ((A, 1), (A, 3), (B, 0), (B, 0), (A, 2), (C, 9))]
    order = [(v.source.fn, v.seconds) for v in longest_first(found)]
    assert order == [(C, 9), (A, 3), (A, 2), (A, 1), (B, 0), (B, 0)]


def test_where_nothing_is_known_the_order_is_kept() -> None:
    found = [variant(A, 0) for _ in range(5)]
    assert [*map(id, longest_first(found))] == [*map(id, found)]
