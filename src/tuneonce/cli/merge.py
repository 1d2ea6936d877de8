"""``tuneonce merge``: put what several stores have into one."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING

from ..errors import UsageError
from ._common import add_json_option

if TYPE_CHECKING:
    from ..store import Store


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "merge",
        help="put what several stores have into one",
        description="Puts the records of stores into another one. Of several verdicts about one "
        "key the one with more measurements stays. Can be cut off and done again at any time.",
    )
    parser.add_argument(
        "stores",
        nargs="+",
        metavar="STORE",
        help="the stores that it comes from, directories or URLs; they are only read",
    )
    parser.add_argument(
        "--into",
        required=True,
        metavar="URL",
        help="the store that it goes to; made if it is not there",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing, and say what would be written"
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Merge."""
    from ..inspect.merging import merge
    from ._carrying import draw_landed, opened
    from ._render import console, print_json, progress

    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(opened(address)) for address in args.stores]
        target = stack.enter_context(opened(args.into, must_be_there=False))
        for source in sources:
            if _place(source) == _place(target):
                raise UsageError(f"merge: {_place(target)} cannot be merged into itself")
        with progress("merge", silent=args.json) as tell:
            did = merge(sources, target, dry_run=args.dry_run, tell=tell)
        places = [store.describe().location for store in sources]
        into = target.describe().location
    if args.json:
        import msgspec

        about = {"stores": places, "into": into, "dry_run": args.dry_run}
        print_json({"schema": "tuneonce.merge/1", **about, **msgspec.to_builtins(did)})
    else:
        what = f"merge of {', '.join(places)} into {into}"
        draw_landed(console(), what, did, dry_run=args.dry_run)
    return 0


def _place(store: Store) -> str:
    return os.path.realpath(store.describe().location)
