"""``tuneonce demo``: the restart benchmark on a small server of our own; ``demo serve``: only that.

Without a GPU the server's kernels run under Triton's interpreter.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from . import demo_serve
from ._bench_options import (
    Subparsers,
    add_load_arguments,
    add_restart_arguments,
    plan_options,
)
from ._output import output_of
from .bench import carry_out, choose_arms, place_port, require

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = "127.0.0.1"
_NEEDS = (
    *("aiohttp", "numpy", "prometheus_client", "psutil", "starlette", "uvicorn"),
    *("torch", "triton"),
)
# Two to three minutes for all runs together on two cores, most of it tuning. Prompts of either load
# have lengths of one class (`demo.kernels.tuning.size_class`): a new length is no new key.
_CPU_LOAD = {
    "num_prompts": 8,
    "input_len": 17,
    "input_len_to": 48,
    "output_len": 4,
    "max_concurrency": 2,
}
# Long prompts and short answers, as in the benchmark that vLLM's own table was made with.
_GPU_LOAD = {
    "num_prompts": 64,
    "input_len": 7000,
    "input_len_to": 9000,
    "output_len": 4,
    "max_concurrency": 8,
}
# The runs that follow the cold start and the restart, as far as nothing else is asked for.
_THEN = ("empty-triton-cache",)


def add_parser(subparsers: Subparsers) -> None:
    """Add ``demo`` and ``demo serve``."""
    demo = subparsers.add_parser(
        "demo",
        help="see what a restart costs with and without tuneonce",
        description="Start a small completion server in every arm, cold, again, and again with "
        "Triton's cache emptied, and compare; on the GPU if torch can use one, else under Triton's "
        "interpreter. Each start has prompts of lengths that none before had.",
    )
    demo.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where the server runs (default: auto)",
    )
    add_restart_arguments(demo)
    add_load_arguments(
        demo, input_len=None, output_len=None, num_prompts=None, max_concurrency=None
    )
    demo.set_defaults(run=run_demo_command)
    commands = demo.add_subparsers(dest="demo_command", metavar="COMMAND", required=False)
    serve = commands.add_parser("serve", help="run the demo's server alone")
    demo_serve.add_arguments(serve)
    serve.set_defaults(run=demo_serve.run)


def run_demo_command(args: argparse.Namespace) -> int:
    """``tuneonce demo``."""
    from ..bench.machine import torch_has_gpu
    from ..bench.restart import Plan
    from ..bench.result import RESTART

    out = output_of(args, RESTART)
    require("the demo", _NEEDS, install="'tuneonce[demo]' torch triton")
    device = args.device
    if device == "auto":
        device = "gpu" if torch_has_gpu() else "cpu"
    load = dict(_GPU_LOAD if device == "gpu" else _CPU_LOAD)
    if args.input_len is not None:
        del load["input_len_to"]
    for option, value in load.items():
        if getattr(args, option) is None:
            setattr(args, option, value)
    args.then = args.then or _THEN
    # In the environment, not only in the server: what the arms mean depends on it.
    settings: Mapping[str, str] = {} if device == "gpu" else {"TRITON_INTERPRET": "1"}
    chosen, notes = choose_arms(args.arms, interpreted=device == "cpu")
    command, port = place_port(
        [sys.executable, "-m", "tuneonce.demo", "--preset", device, "--port", "{port}"],
        host=_HOST,
        port=args.port,
    )
    plan = Plan(
        arms=chosen,
        command=command,
        host=_HOST,
        port=port,
        notes=notes,
        settings=settings,
        **plan_options(args),
    )
    return carry_out(plan, out=out)
