"""The demo's server with the real compiler and a simulated GPU, on which nothing is computed.

A small model, and two candidates of each kernel: what is compiled for a GPU takes its time.
"""

from __future__ import annotations

import argparse
import sys

from tuneonce.demo import kernels
from tuneonce.demo.presets import ModelConfig
from tuneonce.demo.protocol import ServedModel
from tuneonce.demo.server import serve
from tuneonce.demo.start import load
from tuneonce.replay import warm_up
from tuneonce.testing import SimulatedGPU

SMALL = ModelConfig(
    name="simulated",
    layers=1,
    heads=2,
    head_dim=32,
    mlp=128,
    chunk=16,
    max_model_len=256,
    vocab_size=256,
    dtype="bfloat16",
)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    # How much is compiled in two seconds is the machine's, and is not what is tested.
    warm_up._GUESSED_WITHIN_S = 120.0
    for kernel in kernels.AUTOTUNED.values():
        kernel.configs = kernel.configs[:2]
    model = ServedModel(SMALL.name, SMALL.max_model_len, SMALL.vocab_size)
    with SimulatedGPU():
        return serve(lambda: load(SMALL), model=model, host="127.0.0.1", port=port)


if __name__ == "__main__":
    sys.exit(main())
