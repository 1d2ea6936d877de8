"""Operators of fla-core and mamba-ssm as a model's prefill calls them: forward, bf16, batch 1.

Inputs are made once, for the most tokens, and a call of fewer takes their beginning. Importing this
module imports none of the packages.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

HEADS = 32
HEAD_DIM = 128

Inputs = Callable[..., Any]
"""Random values of a shape below the tokens: ``inputs(HEADS, HEAD_DIM)`` is of (1, tokens, ...)."""


@dataclass(frozen=True)
class Operator:
    """`arguments(inputs)` are what a call is given; those in `per_token` are cut to its tokens.

    `load()` imports the package and returns the function; `packed` makes, of lengths and a device,
    the arguments by which a call has several sequences.
    """

    package: str
    module: str
    about: str
    load: Callable[[], Any]
    arguments: Callable[[Inputs], dict[str, Any]]
    packed: Callable[[Sequence[int], str], dict[str, Any]]
    constants: Callable[[str], dict[str, Any]] = lambda device: {}


class Calls:
    """Calls of an operator on `device` (CPU tensors under a simulated GPU), of at most `most`."""

    def __init__(self, operator: Operator, device: str, *, most: int) -> None:
        import torch

        self._operator = operator
        self._device = device
        self._function = operator.load()
        generator = torch.Generator(device).manual_seed(0)

        def inputs(*shape: int, dtype: Any = torch.bfloat16) -> Any:
            return torch.randn(
                1, most, *shape, generator=generator, device=device, dtype=torch.bfloat16
            ).to(dtype)

        self._tensors = operator.arguments(inputs)
        self._constants = operator.constants(device)

    def of(self, lengths: Sequence[int], *, packed: bool) -> Callable[[], Any]:
        """A function that makes one call of sequences of these lengths."""
        tokens = sum(lengths)
        given = {name: tensor[:, :tokens] for name, tensor in self._tensors.items()}
        given |= self._constants
        if packed:
            given |= self._operator.packed(lengths, self._device)
        return lambda: self._function(**given)


def _fla(folder: str, name: str) -> Callable[[], Any]:
    return lambda: getattr(importlib.import_module(f"fla.ops.{folder}"), name)


def _starts(lengths: Sequence[int], device: str) -> Any:
    import torch

    return torch.tensor([0, *lengths]).cumsum(0).to(device)


def _fla_packed(lengths: Sequence[int], device: str) -> dict[str, Any]:
    return {"cu_seqlens": _starts(lengths, device)}


def _qkv(inputs: Inputs) -> dict[str, Any]:
    return {name: inputs(HEADS, HEAD_DIM) for name in ("q", "k", "v")}


def _head_gate(inputs: Inputs) -> Any:
    import torch

    return torch.nn.functional.logsigmoid(inputs(HEADS, dtype=torch.float32))


def _channel_gate(inputs: Inputs) -> Any:
    import torch

    return torch.nn.functional.logsigmoid(inputs(HEADS, HEAD_DIM)) / 16


def _beta(inputs: Inputs) -> Any:
    return inputs(HEADS).sigmoid()


def _kda_constants(device: str) -> dict[str, Any]:
    import torch

    generator = torch.Generator(device).manual_seed(1)
    rate = torch.rand(HEADS, generator=generator, device=device)
    return {
        "A_log": (1 + 15 * rate).log(),
        "dt_bias": torch.zeros(HEADS * HEAD_DIM, device=device),
        "use_gate_in_kernel": True,
        "use_qk_l2norm_in_kernel": True,
        "output_final_state": True,
    }


def _rwkv7(inputs: Inputs) -> dict[str, Any]:
    import torch

    direction = torch.nn.functional.normalize(inputs(HEADS, HEAD_DIM), dim=-1)
    return {
        "r": inputs(HEADS, HEAD_DIM),
        "w": -0.6065306597126334 * inputs(HEADS, HEAD_DIM).sigmoid(),
        "k": inputs(HEADS, HEAD_DIM),
        "v": inputs(HEADS, HEAD_DIM),
        "a": -direction,
        "b": direction * inputs(HEADS, HEAD_DIM).sigmoid(),
    }


MAMBA_HEADS, MAMBA_DIM, MAMBA_STATE = 80, 64, 128


def _load_mamba() -> Any:
    # The top of the package imports models, which need transformers and a CUDA extension; its
    # Triton operators need neither.
    top = types.ModuleType("mamba_ssm")
    spec = importlib.util.find_spec("mamba_ssm")
    assert spec is not None, "mamba-ssm is not installed"
    top.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["mamba_ssm"] = top
    return importlib.import_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined


def _mamba(inputs: Inputs) -> dict[str, Any]:
    return {
        "x": inputs(MAMBA_HEADS, MAMBA_DIM),
        "dt": inputs(MAMBA_HEADS),
        "B": inputs(1, MAMBA_STATE),
        "C": inputs(1, MAMBA_STATE),
    }


def _mamba_constants(device: str) -> dict[str, Any]:
    import torch

    generator = torch.Generator(device).manual_seed(1)

    def randn() -> Any:
        return torch.randn(MAMBA_HEADS, generator=generator, device=device)

    return {
        "A": -randn().exp(),
        "D": randn(),
        "dt_bias": randn(),
        "dt_softplus": True,
        "chunk_size": 256,
        "return_final_states": True,
    }


def _mamba_packed(lengths: Sequence[int], device: str) -> dict[str, Any]:
    import torch

    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return {
        "seq_idx": owner[None].to(device=device, dtype=torch.int32),
        "cu_seqlens": _starts(lengths, device).to(torch.int32),
        "return_varlen_states": True,
    }


def _of_fla(
    folder: str,
    name: str,
    about: str,
    arguments: Callable[[Inputs], dict[str, Any]],
    constants: Callable[[str], dict[str, Any]],
) -> Operator:
    shape = f"H={HEADS}, K=V={HEAD_DIM}"
    about = f"{name}, forward, bf16, {shape}{about}"
    load = _fla(folder, name)
    return Operator("fla-core", "fla", about, load, arguments, _fla_packed, constants)


_NORMED = {"use_qk_l2norm_in_kernel": True, "output_final_state": True}

OPERATORS = {
    "kda": _of_fla(
        "kda",
        "chunk_kda",
        ", gate and L2 norm in the kernel",
        lambda inputs: _qkv(inputs) | {"g": inputs(HEADS, HEAD_DIM), "beta": _beta(inputs)},
        _kda_constants,
    ),
    "simple_gla": _of_fla(
        "simple_gla",
        "chunk_simple_gla",
        "",
        lambda inputs: _qkv(inputs) | {"g": _head_gate(inputs)},
        lambda device: {"output_final_state": True},
    ),
    "gated_delta_rule": _of_fla(
        "gated_delta_rule",
        "chunk_gated_delta_rule",
        ", L2 norm in the kernel",
        lambda inputs: _qkv(inputs) | {"g": _head_gate(inputs), "beta": _beta(inputs)},
        lambda device: dict(_NORMED),
    ),
    "delta_rule": _of_fla(
        "delta_rule",
        "chunk_delta_rule",
        ", L2 norm in the kernel",
        lambda inputs: _qkv(inputs) | {"beta": _beta(inputs)},
        lambda device: dict(_NORMED),
    ),
    "gla": _of_fla(
        "gla",
        "chunk_gla",
        "",
        lambda inputs: _qkv(inputs) | {"g": _channel_gate(inputs)},
        lambda device: {"output_final_state": True},
    ),
    "rwkv7": _of_fla(
        "rwkv7",
        "chunk_rwkv7",
        ", chunks of 64 with a bounded gate",
        _rwkv7,
        lambda device: {"safe_gate": True, "chunk_size": 64, "output_final_state": True},
    ),
    "mamba2": Operator(
        "mamba-ssm",
        "mamba_ssm",
        f"mamba_chunk_scan_combined, forward, bf16, {MAMBA_HEADS} heads of {MAMBA_DIM},"
        f" state {MAMBA_STATE}, chunks of 256",
        _load_mamba,
        _mamba,
        _mamba_packed,
        _mamba_constants,
    ),
}


def missing(name: str) -> str | None:
    """Why an operator cannot be called here; None if it can."""
    operator = OPERATORS[name]
    if importlib.util.find_spec(operator.module) is None:
        return f"{operator.package} is not installed"
    return None
