"""Tensor descriptors (TMA) as arguments of autotuned kernels."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
module = pytest.importorskip("triton.tools.tensor_descriptor")

from tuneonce.triton.convert import tuning_key  # noqa: E402


def test_a_descriptor_has_the_dtype_of_its_tensor() -> None:
    keys = []
    for dtype in (torch.bfloat16, torch.float32):
        descriptor = module.TensorDescriptor.from_tensor(torch.ones(64, 64, dtype=dtype), [16, 16])
        keys.append(tuning_key(["x", "n"], ["n"], {"x": descriptor, "n": 64}))
        assert keys[-1] == (("x.dtype", ["str", str(dtype)]), ("n", ["int", "64"]))
    assert keys[0] != keys[1]


def test_a_descriptor_of_nothing_has_no_dtype() -> None:
    class TensorDescriptorOfOthers:
        pass

    assert tuning_key(["x"], [], {"x": TensorDescriptorOfOthers()}) == ()
