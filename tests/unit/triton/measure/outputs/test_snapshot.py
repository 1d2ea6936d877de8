"""What memory held is put back, where it is written to and nowhere else."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from tuneonce.triton.measure.outputs import snapshot as module
from tuneonce.triton.measure.outputs.snapshot import Snapshot
from tuneonce.triton.measure.outputs.spans import spans_of


def test_only_what_is_written_to_is_put_back_once_that_is_known() -> None:
    x, out = torch.arange(6.0), torch.zeros(4)
    snapshot = Snapshot(spans_of([x, out]))
    assert snapshot.size == 40
    assert snapshot.changed() == []
    out[2] = 1
    written = snapshot.changed()
    assert [span.size for span in written] == [16]
    snapshot.narrow(written)
    assert snapshot.size == 16
    x[0], out[0] = 9, 9
    snapshot.put_back()
    assert out.tolist() == [0, 0, 0, 0]
    assert x[0] == 9


def test_a_difference_is_found_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 16)
    out = torch.zeros(13)
    snapshot = Snapshot(spans_of([out]))
    out[12] = -0.0
    assert len(snapshot.changed()) == 1
