"""The sizes of the demo's models. Imports neither torch nor triton."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one model. `hidden` is heads × head_dim; `mlp` is the width of the MLP.

    Widths stay so small that whole numbers do not leave float32's exact range: see
    :mod:`tuneonce.demo.model`.
    """

    name: str
    layers: int
    heads: int
    head_dim: int
    mlp: int
    chunk: int
    """Tokens that one program of the attention kernels works on."""
    max_model_len: int
    """Prompt and answer together, in tokens."""
    vocab_size: int = 32_768
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 20_260_101

    @property
    def hidden(self) -> int:
        return self.heads * self.head_dim


# Small enough that Triton's interpreter answers a prompt of 64 tokens in a second, and large
# enough that every kernel has a choice of block sizes.
CPU = ModelConfig(
    name="cpu", layers=2, heads=2, head_dim=32, mlp=128, chunk=16, max_model_len=1_024
)
# About 0.6 billion parameters in the layers, 8,000 tokens of prompt in tens of milliseconds on a
# data-centre GPU.
GPU = ModelConfig(
    name="gpu",
    layers=12,
    heads=16,
    head_dim=128,
    mlp=8_192,
    chunk=64,
    max_model_len=16_384,
    dtype="bfloat16",
    device="cuda",
)

PRESETS = {preset.name: preset for preset in (CPU, GPU)}
