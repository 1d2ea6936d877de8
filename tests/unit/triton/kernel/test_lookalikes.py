"""What stands in for the arguments of a launch: it looks alike to a kernel, and holds no memory."""

from __future__ import annotations

import gc
import weakref
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

import torch

from tuneonce.triton.kernel.lookalikes import Lookalike, lookalike


def test_it_looks_alike() -> None:
    tensor = torch.zeros(6, 8, dtype=torch.bfloat16)[1:, ::2]
    found = lookalike(tensor)
    assert found.data_ptr() == tensor.data_ptr()
    assert (found.dtype, found.device) == (tensor.dtype, tensor.device)
    assert (found.shape, found.stride()) == (tensor.shape, tensor.stride())
    assert found.stride(0) == 8
    assert found.numel() == 20
    assert found.element_size() == 2


def test_it_keeps_nothing_alive() -> None:
    tensor = torch.zeros(4)
    storage = weakref.ref(tensor)
    found = lookalike((tensor, [1]))
    del tensor
    gc.collect()
    assert storage() is None
    assert found[0].shape == (4,)


def test_it_has_no_elements() -> None:
    found = lookalike(torch.ones(4))
    with pytest.raises(Exception, match=r"(?i)meta"):
        found.tolist()
    found.zero_()  # as a hook may, which writes nowhere


def test_what_holds_tensors_holds_lookalikes() -> None:
    pair = namedtuple("pair", "x n")
    tensor = torch.ones(4)
    found = lookalike(pair(tensor, 3))
    assert type(found) is pair
    assert isinstance(found.x, Lookalike)
    assert found.n == 3
    descriptor: Any = SimpleNamespace(base=tensor, block_shape=[16])
    twin = lookalike(descriptor)
    assert isinstance(twin.base, Lookalike)
    assert descriptor.base is tensor


@pytest.mark.parametrize("value", [1, True, None, 2.5, "x", torch.float32, (1, 2)], ids=repr)
def test_other_values_stay(value: Any) -> None:
    assert lookalike(value) == value
