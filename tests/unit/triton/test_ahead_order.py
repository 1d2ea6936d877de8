"""In which order variants of several kernels are compiled ahead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tuneonce.triton.ahead import _longest_first, _Variant


def variant(kernel: str, seconds: float) -> Any:
    source: Any = SimpleNamespace(fn=SimpleNamespace(cache_key=kernel))
    return _Variant(source, {}, seconds)


def test_one_of_each_kernel_goes_first_and_then_what_takes_longest() -> None:
    found = [variant(*one) for one in (("a", 1), ("a", 3), ("b", 0), ("b", 0), ("a", 2), ("c", 9))]
    order = [(v.source.fn.cache_key, v.seconds) for v in _longest_first(found)]
    assert order == [("c", 9), ("a", 3), ("b", 0), ("a", 2), ("a", 1), ("b", 0)]


def test_where_nothing_is_known_the_order_is_kept() -> None:
    found = [variant("a", 0) for _ in range(5)]
    assert [*map(id, _longest_first(found))] == [*map(id, found)]
