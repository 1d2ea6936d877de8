"""What every process of a comparison gets alike: which GPU, how many calls and candidates."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--simulated", action="store_true", help="use the simulated GPU")
    parser.add_argument("--limit", type=int, help="make only the first LIMIT calls")
    parser.add_argument("--record", type=Path, help="keep what was compiled in this directory")
    parser.add_argument("--replay", type=Path, help="sleep instead of compiling what is kept there")
    parser.add_argument("--compilers", type=int, help="as many (default: as many as cores)")
    parser.add_argument("--at-most", type=int, help="candidates to keep of each list")


def options(args: argparse.Namespace) -> list[str]:
    """The options of `add_options` as a command line."""
    line = ["--simulated"] if args.simulated else []
    for name in ("limit", "at_most", "record", "replay"):
        if (value := getattr(args, name)) is not None:
            value = value.resolve() if isinstance(value, Path) else value
            line += [f"--{name.replace('_', '-')}", str(value)]
    return line


def variables(args: argparse.Namespace) -> dict[str, str]:
    """What tuneonce reads before the process reads its command line."""
    return {} if args.compilers is None else {"TUNEONCE_WORKERS": str(args.compilers)}
