"""``tuneonce push``: give what the store has to what several machines share."""

from __future__ import annotations

import argparse

from ._exchange import add_exchange_options, exchange


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "push",
        help="give what the store has to what several machines share",
        description="Pushes the records of the store that a remote lacks. Of two of one name "
        "the one that is there first stays. Can be cut off and done again at any "
        "time.",
    )
    add_exchange_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Push."""
    return exchange(args, "push")
