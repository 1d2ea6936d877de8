"""What is written now, beside what a few candidates wrote before."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from tuneonce.triton.measure.outputs.references import References
from tuneonce.triton.measure.outputs.spans import spans_of
from tuneonce.tuning.numerics import far_beyond


def test_the_farthest_tensor_decides() -> None:
    near, far, count = torch.ones(256), torch.ones(256), torch.zeros(2, dtype=torch.int64)
    references = References(spans_of([near, far, count]), [])
    references.keep(4, "bits", references.copy())
    near[0], far[:128] = 1.0001, 3.0
    count += 1  # of no floating-point type: its bits say what there is to say
    assert references.distances("other")[4] == pytest.approx(2.0)
    assert references.distances("bits") == {4: 0.0}


def test_what_is_nothing_but_rounding_beside_what_is_read_is_near() -> None:
    """A sum that cancels: relative to itself each order of adding up finds something else."""
    x, out = torch.randn(4096), torch.full((1,), 1e-7)
    without = References(spans_of([out]), [])
    beside = References(spans_of([out]), spans_of([x]))
    for references in (without, beside):
        out[0] = 1e-7
        references.keep(0, "bits", references.copy())
        out[0] = -2e-7
    assert without.distances("other")[0] == pytest.approx(3.0)
    assert beside.distances("other")[0] < 1e-3


def test_what_is_less_than_a_thousandth_of_what_is_read_may_be_all_wrong() -> None:
    """Probabilities over a large vocabulary, and none of them is written (docs/numerics.md)."""
    x = torch.randn(1 << 17, generator=torch.Generator().manual_seed(0)).bfloat16()
    out = x.softmax(0)
    references = References(spans_of([out]), spans_of([x]))
    references.keep(0, "bits", references.copy())
    out.zero_()
    far = far_beyond([16], x.numel())
    assert far is not None
    assert 0 < references.distances("other")[0] < far


def test_references_are_given_up() -> None:
    references = References(spans_of([torch.ones(4)]), [])
    references.keep(0, "bits", references.copy())
    references.clear()
    assert references.distances("other") == {}
