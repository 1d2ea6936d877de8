"""``tuneonce demo serve``: the demo's completion server in the foreground."""

from __future__ import annotations

import argparse

DESCRIPTION = (
    "Serve a small language model, made of autotuned Triton kernels, with OpenAI's completions API."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options on `parser`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, help="port to listen on, 0 for a free one (%(default)s)"
    )
    parser.add_argument(
        "--preset",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="sizes of the model; cpu runs in Triton's interpreter; auto takes gpu if there is one",
    )
    parser.add_argument(
        "--warmup",
        action="store_true",
        help="answer a made-up prompt of 64 tokens before the server says that it is healthy",
    )
    parser.add_argument(
        "--model-name", default="tuneonce-demo", help="the model's name in the API (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop. Raises UsageError if the demo cannot run here."""
    from tuneonce.demo.start import start

    return start(
        host=args.host,
        port=args.port,
        preset=args.preset,
        warmup=args.warmup,
        model_name=args.model_name,
    )
