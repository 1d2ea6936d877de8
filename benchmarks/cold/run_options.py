"""What every process of a comparison gets alike: which GPU, how many calls and candidates."""

from __future__ import annotations

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--simulated", action="store_true", help="use the simulated GPU")
    parser.add_argument("--limit", type=int, help="make only the first LIMIT calls")
    parser.add_argument("--at-most", type=int, help="candidates to keep of each list")


def options(args: argparse.Namespace) -> list[str]:
    """The options of `add_options` as a command line."""
    line = ["--simulated"] if args.simulated else []
    for name in ("limit", "at_most"):
        if (value := getattr(args, name)) is not None:
            line += [f"--{name.replace('_', '-')}", str(value)]
    return line
