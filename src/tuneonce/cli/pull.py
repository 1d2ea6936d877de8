"""``tuneonce pull``: take what other machines have shared into the store."""

from __future__ import annotations

import argparse

from ._exchange import add_exchange_options, exchange


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "pull",
        help="take what other machines have shared into the store",
        description="Takes the records of a remote that the store lacks, and those that the "
        "remote had first. Can be cut off and done again at any time.",
    )
    add_exchange_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pull."""
    return exchange(args, "pull")
