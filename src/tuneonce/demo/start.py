"""From options to a running server: which preset, is everything there, which Triton mode.

Light to import; what a server needs is imported by :func:`start`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..settings import is_interpreted
from .presets import PRESETS, ModelConfig

if TYPE_CHECKING:
    from .model import Model

DEFAULT_MODEL_NAME = "tuneonce-demo"

# Module → how to get it. The first two come in versions that fit a machine's GPU, so nothing here
# installs them in passing.
_NEEDED = {
    "torch": "pip install torch",
    "triton": "pip install triton",
    "numpy": "pip install 'tuneonce[demo]'",
    "prometheus_client": "pip install 'tuneonce[demo]'",
    "starlette": "pip install 'tuneonce[demo]'",
    "uvicorn": "pip install 'tuneonce[demo]'",
}


def start(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    preset: str = "auto",
    warmup: bool = False,
    model_name: str = DEFAULT_MODEL_NAME,
) -> int:
    """Serve the demo's model until SIGTERM or SIGINT; returns the exit code.

    `preset`: ``"cpu"``, ``"gpu"``, or ``"auto"`` for the one that fits the machine. ``"cpu"`` sets
    ``TRITON_INTERPRET=1`` for this process. Raises UsageError if this cannot work here.
    """
    check_requirements()
    config = PRESETS[choose_preset(preset)]
    if config is PRESETS["cpu"]:
        interpret()

    from .protocol import ServedModel
    from .server import serve

    return serve(
        lambda: load(config),
        model=ServedModel(
            name=model_name, max_model_len=config.max_model_len, vocab_size=config.vocab_size
        ),
        host=host,
        port=port,
        warmup=warmup,
    )


def check_requirements() -> None:
    """Raise UsageError, with the commands that help, if a package is missing."""
    missing = [module for module in _NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        commands = " && ".join(dict.fromkeys(_NEEDED[module] for module in missing))
        raise UsageError(f"the demo needs {', '.join(missing)}: {commands}")


def choose_preset(preset: str) -> str:
    """``"cpu"`` or ``"gpu"`` for `preset`. Raises UsageError where ``"gpu"`` cannot work."""
    interpreted = is_interpreted(os.environ)
    if preset == "cpu" or (preset == "auto" and interpreted):
        return "cpu"

    import torch

    if torch.cuda.is_available():
        if interpreted:
            raise UsageError("preset gpu compiles its kernels: unset TRITON_INTERPRET")
        return "gpu"
    if preset == "gpu":
        raise UsageError("preset gpu needs a GPU that torch can use: take --preset cpu")
    return "cpu"


def interpret() -> None:
    """Make Triton interpret its kernels on the CPU. It must not have been imported without that.

    Raises UsageError if it was: triton decides this when kernels, its own too, are decorated.
    """
    interpreted = is_interpreted(os.environ)
    if "triton" in sys.modules and not interpreted:
        raise UsageError(
            "preset cpu needs TRITON_INTERPRET=1, and triton was imported without it: "
            "set it before the process starts"
        )
    os.environ["TRITON_INTERPRET"] = "1"


def load(config: ModelConfig) -> Model:
    """The model for `config`, its layers made of the Triton kernels. Takes seconds."""
    import torch

    from . import kernels
    from .model import Model

    if config.device == "cpu":
        # The interpreter's time goes into Python; torch's threads would only get in its way.
        torch.set_num_threads(1)
    return Model(config, kernels)
