"""Workloads of published packages: forward kernels that servers run, and what they ought to return.

``fla`` is the Gated DeltaNet operator of Qwen3-Next (fla-core), ``mamba`` the chunked scan of
Mamba-2 with the dimensions of its 2.7 B model (mamba-ssm), ``gemlite`` a linear layer of 4-bit and
one of 8-bit weights for one to some hundred tokens. A workload yields its calls one after another,
each with its inputs made; importing this module imports none of the packages.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """One call, and where it is cheap what torch alone makes of its inputs.

    `tolerance` bounds the norm of the difference over the norm of the reference.
    """

    name: str
    run: Callable[[], Any]
    reference: Callable[[], Any] | None = None
    tolerance: float = 0.02


@dataclass(frozen=True)
class Workload:
    """`calls(device)` imports the package (`module`) and yields its calls.

    The names of its distributions are `packages`, their own environment variables start with one
    of `steering`.
    """

    packages: tuple[str, ...]
    module: str
    about: str
    steering: tuple[str, ...]
    calls: Callable[[str], Iterator[Call]]


def fla_calls(device: str) -> Iterator[Call]:
    """The calls of ``fla_workload.py``."""
    import fla_workload
    import torch

    operator = fla_workload.load_operator()

    def reference(given: dict[str, Any]) -> Any:
        from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule

        q, k = (torch.nn.functional.normalize(given[name].float(), dim=-1) for name in ("q", "k"))
        rest = {name: given[name] for name in ("v", "beta", "g")}
        return naive_recurrent_gated_delta_rule(q, k, **rest, output_final_state=True)

    for name, lengths in fla_workload.FULL.items():
        # `dict` in the operator's place returns the arguments that the operator would get.
        given = fla_workload.call(dict, lengths, device)()
        dense = isinstance(lengths, int)
        yield Call(
            name,
            lambda given=given: operator(**given),
            # Token after token: the shortest dense call is enough.
            (lambda given=given: reference(given)) if dense and lengths <= 1000 else None,
        )


def mamba_calls(device: str) -> Iterator[Call]:
    """Prefill of one sequence, of several packed into one, and of a chunk that has a past."""
    # The top of the package imports models, which need transformers and a CUDA extension; its
    # Triton operators need neither.
    top = types.ModuleType("mamba_ssm")
    spec = importlib.util.find_spec("mamba_ssm")
    assert spec is not None, "mamba-ssm is not installed"
    top.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["mamba_ssm"] = top
    import torch
    from mamba_ssm.ops.triton import ssd_combined

    heads, dim, state, chunk = 80, 64, 128, 256

    def inputs(tokens: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(tokens)

        def randn(*shape: int, dtype: Any = torch.bfloat16) -> Any:
            return torch.randn(*shape, generator=generator).to(device=device, dtype=dtype)

        return {
            "x": randn(1, tokens, heads, dim),
            "dt": randn(1, tokens, heads),
            "A": -randn(heads, dtype=torch.float32).exp(),
            "B": randn(1, tokens, 1, state),
            "C": randn(1, tokens, 1, state),
            "chunk_size": chunk,
            "D": randn(heads, dtype=torch.float32),
            "dt_bias": randn(heads, dtype=torch.float32),
            "dt_softplus": True,
        }

    def packed(lengths: list[int]) -> dict[str, Any]:
        sizes = torch.tensor(lengths)
        owner = torch.repeat_interleave(torch.arange(len(lengths)), sizes)
        starts = torch.tensor([0, *lengths]).cumsum(0)
        return {
            "seq_idx": owner[None].to(device=device, dtype=torch.int32),
            "cu_seqlens": starts.to(device=device, dtype=torch.int32),
            "return_varlen_states": True,
        }

    def scan(given: dict[str, Any]) -> Callable[[], Any]:
        return lambda: ssd_combined.mamba_chunk_scan_combined(**given)

    def exact(given: dict[str, Any]) -> Any:
        single = {name: given[name].float() for name in ("x", "dt", "B", "C")}
        return ssd_combined.ssd_chunk_scan_combined_ref(**given | single)

    dense, several, later = inputs(4096), inputs(3000), inputs(1024)
    past = torch.zeros(1, heads, dim, state, device=device, dtype=torch.bfloat16)
    yield Call(
        "dense 4096",
        scan(dense | {"return_final_states": True}),
        lambda: exact(dense),
    )
    yield Call("packed 3000", scan(several | packed([1500, 1000, 300, 200])))
    yield Call(
        "with a past 1024",
        scan(later | {"initial_states": past, "return_final_states": True}),
        lambda: exact(later),
    )


def gemlite_calls(device: str) -> Iterator[Call]:
    """4-bit weights in groups of 128 for 1 to 512 tokens, then 8-bit weights and activations."""
    import gemlite
    import torch

    # It brings winners for some GPUs and would use them in place of tuning.
    gemlite.reset_config()
    features, group = 4096, 128
    generator = torch.Generator().manual_seed(0)

    def tokens(rows: int) -> Any:
        x = torch.randn(rows, features, generator=generator)
        return (x / 10).to(device=device, dtype=torch.float16)

    def grouped(*shape: int) -> Any:
        return torch.rand(features, features // group, *shape, generator=generator)

    quantised = torch.randint(0, 16, (features, features), generator=generator).to(torch.uint8)
    scales = (grouped() / 100 + 0.001).half().to(device)
    zeros = torch.full((features, features // group), 7.0).half().to(device)
    int4 = gemlite.GemLiteLinear(
        W_nbits=4,
        group_size=group,
        in_features=features,
        out_features=features,
        input_dtype=gemlite.DType.FP16,
        output_dtype=gemlite.DType.FP16,
    )
    int4.pack(quantised.to(device), scales, zeros, None)

    def whole() -> Any:
        blocks = quantised.to(device).half().view(features, -1, group)
        return ((blocks - zeros[..., None]) * scales[..., None]).view(features, features)

    for rows in (1, 16, 64, 512):
        x = tokens(rows)
        yield Call(f"int4, {rows} rows", lambda x=x: int4(x), lambda x=x: x @ whole().T)

    weight = torch.randn(features, features, generator=generator).half().to(device)
    int8 = gemlite.helper.A8W8_int8_dynamic(device=device).from_weights(weight.clone())
    for rows in (1, 64):
        x = tokens(rows)
        yield Call(f"int8, {rows} rows", lambda x=x: int8(x), lambda x=x: x @ weight.T, 0.05)


WORKLOADS = {
    "fla": Workload(
        ("fla-core",),
        "fla",
        "chunk_gated_delta_rule, forward, bf16, H=16, K=V=128; 3 dense and 2 packed calls",
        ("FLA_",),
        fla_calls,
    ),
    "mamba": Workload(
        ("mamba-ssm",),
        "mamba_ssm",
        "mamba_chunk_scan_combined, forward, bf16, 80 heads of 64, state 128, chunk 256;"
        " dense, packed, and with initial states",
        ("MAMBA_", "TRITON_AUTOTUNE_"),
        mamba_calls,
    ),
    "gemlite": Workload(
        ("gemlite",),
        "gemlite",
        "linear layers of 4096 x 4096, int4 in groups of 128 at 1, 16, 64 and 512 rows, int8 at"
        " 1 and 64 rows; gemlite's own `fast` lists of candidates",
        ("GEMLITE_",),
        gemlite_calls,
    ),
}
