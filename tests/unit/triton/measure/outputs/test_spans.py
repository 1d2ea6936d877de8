"""Which memory a launch's arguments say it may write to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch")

import torch

from tuneonce.triton.measure.outputs.spans import Unobservable, spans_of, tensors_of, typed


class Pair(NamedTuple):
    a: Any
    b: Any


def sizes(*values: Any) -> list[int]:
    return sorted(span.size for span in spans_of(values))


def test_tensors_are_found_in_tuples_and_under_descriptors() -> None:
    a, b, c, d = (torch.zeros(n) for n in (1, 2, 3, 4))
    under = SimpleNamespace(base=c, block_shape=[1])
    found = list(tensors_of([a, 3, None, "x", (b, (under,)), Pair(d, 1)]))
    assert [one.numel() for one in found] == [1, 2, 3, 4]


def test_what_has_an_address_and_is_no_tensor_cannot_be_looked_at() -> None:
    with pytest.raises(Unobservable, match="no_tensor"):
        spans_of([torch.zeros(1), SimpleNamespace(data_ptr=lambda: 64)])


def test_what_has_no_memory_cannot_be_looked_at() -> None:
    with pytest.raises(Unobservable, match="no_memory"):
        spans_of([torch.zeros(4, device="meta")])


def test_a_tensor_is_its_stretch_of_the_storage() -> None:
    whole = torch.arange(24.0)
    rows = whole.view(4, 6)[1:3, 2:4]  # elements 8, 9, 14, 15
    [span] = spans_of([rows])
    assert span.size == 8 * 4
    assert typed(span.bytes, span.tensors[0]).tolist() == whole[8:16].tolist()
    span.bytes.zero_()
    assert whole[8:16].sum() == 0
    assert whole[7] == 7
    assert whole[16] == 16


def test_one_storage_is_put_back_once() -> None:
    whole = torch.arange(24.0)
    assert sizes(whole, whole[3:7], whole.view(torch.int32)) == [96]
    assert sizes(whole[:8], whole[8:]) == [32, 64]
    assert sizes(whole[:9], whole[8:]) == [96]
    # A long one that others lie in, behind one that ends before them.
    assert sizes(whole[0:20], whole[2:4], whole[18:24], whole[4:6]) == [96]


def test_interleaved_views_are_one_span_of_two_tensors() -> None:
    both = torch.arange(12.0).view(3, 4)
    [span] = spans_of([both[:, :2], both[:, 2:]])
    assert span.size == 48
    assert [(one.begin, one.count) for one in span.tensors] == [(0, 10), (8, 10)]


def test_a_tensor_that_begins_between_two_elements_of_another_type() -> None:
    raw = torch.arange(16, dtype=torch.uint8)
    [span] = spans_of([raw[2:], raw[4:12].view(torch.int32)])
    numbers = {one.dtype: typed(span.bytes, one) for one in span.tensors}
    assert numbers[torch.int32].tolist() == raw[4:12].view(torch.int32).tolist()


def test_empty_tensors_and_those_seen_twice_add_nothing() -> None:
    one = torch.zeros(4)
    assert sizes(one, one, one.t(), torch.zeros(0)) == [16]
    assert len(spans_of([one, one])[0].tensors) == 1


def test_an_expanded_tensor_is_what_there_is_of_it() -> None:
    assert sizes(torch.zeros(1, 3).expand(5, 3)) == [12]
