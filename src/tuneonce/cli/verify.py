"""``tuneonce verify``: read every record and report those that are not whole."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._common import add_json_option, add_store_option, open_store_of

if TYPE_CHECKING:
    from ..inspect.upkeep import Verification


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "verify",
        help="read every record and report those that are not whole",
        description="Reads every record, checks that it is whole, fits its schema and stands where "
        "its key belongs. Exit code 1 if one does not.",
    )
    parser.add_argument("--set-aside", action="store_true", help="move such records away")
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify the store."""
    from ..inspect.upkeep import verify
    from ._render import print_json

    with open_store_of(args) as store:
        found = verify(store, set_aside=args.set_aside)
    if args.json:
        print_json(found)
    else:
        _draw(found, set_aside=args.set_aside)
    return 1 if found.bad else 0


def _draw(found: Verification, *, set_aside: bool) -> None:
    from ._render import console, count, plain

    out = console()
    for bad in found.bad:
        detail = f" ({plain(bad.detail)})" if bad.detail else ""
        moved = ("set aside: " if bad.set_aside else "left in place: ") if set_aside else ""
        out.print(
            f"{moved}{plain(bad.name)}: {plain(bad.reason)}{detail}", style="red", soft_wrap=True
        )
    for name in found.unknown:
        out.print(
            f"not known to this version, left alone: {plain(name)}", style="dim", soft_wrap=True
        )
    out.print(
        f"{count(found.verdicts, 'verdict')}, {count(found.measurements, 'loose measurement')} "
        f"and {count(found.variants, 'list')} of compiled variants "
        f"are whole, {count(len(found.bad), 'record')} not, in {plain(found.location)}",
        soft_wrap=True,
    )
    if found.bad and not set_aside:
        out.print("`tuneonce verify --set-aside` moves them away; their keys are tuned again.")
