"""``tuneonce rm``: remove records; asks first, or wants ``--yes``."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from ..errors import UsageError
from ._common import (
    add_json_option,
    add_pattern,
    add_store_option,
    events_directory,
    open_store_of,
    unknown_kernel,
)
from ._numbers import not_negative

if TYPE_CHECKING:
    from ..inspect.upkeep import Removal, Selection

_DAY = 24 * 3600.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "rm",
        help="remove a kernel's records",
        description="Removes the records that fit all that is said. Prints them first and asks; "
        "--yes answers.",
    )
    add_pattern(parser)
    parser.add_argument("--all", action="store_true", help="the records of every kernel")
    parser.add_argument(
        "--world",
        metavar="GLOB",
        help="only of this product, architecture (cuda:90) or compiler, as `tuneonce ls` has them",
    )
    parser.add_argument(
        "--older-than", metavar="DAYS", type=_days, help="only those written longer ago"
    )
    parser.add_argument(
        "--origin",
        metavar="ORIGIN",
        help="only verdicts measured, assembled, rechecked, explored, or from stock-cache",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def _days(text: str) -> float:
    try:
        return not_negative(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days") from None


def run(args: argparse.Namespace) -> int:
    """Remove what the arguments select."""
    from ..events.history import KnownKeys
    from ..inspect.record_reader import kernel_names
    from ..inspect.upkeep import plan_removal, remove
    from ._render import print_json

    selection = _selection(args)
    with open_store_of(args) as store:
        plan = plan_removal(store, selection, known=KnownKeys(events_directory(args)))
        if not plan.matched and args.pattern is not None and (names := kernel_names(store)):
            raise unknown_kernel(args.pattern, where=plan.location, known=names)
        if not args.json:
            _draw(plan)
        if plan.records and not args.yes:
            if args.json:
                print_json(plan)
            if args.json or not _may_ask():
                raise UsageError("rm: nothing was removed; pass --yes to remove this")
            if not _asks():
                print("Nothing was removed.")
                return 1
        done = remove(store, plan)
    if args.json:
        print_json(done)
    elif done.records:
        changed = f", {done.changed} had changed and are left" if done.changed else ""
        print(f"{done.removed} removed{changed}.")
    return 0


def _selection(args: argparse.Namespace) -> Selection:
    from typing import get_args

    from ..inspect.upkeep import Selection
    from ..model.records import Origin

    if args.all == (args.pattern is not None):
        raise UsageError("rm: name a kernel (or a glob), or pass --all")
    origins = get_args(Origin)
    if args.origin is not None and args.origin not in origins:
        raise UsageError(f"rm: --origin {args.origin} is none of {', '.join(origins)}")
    before = None if args.older_than is None else time.time() - args.older_than * _DAY
    return Selection(pattern=args.pattern, world=args.world, before=before, origin=args.origin)


def _may_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _asks() -> bool:
    try:
        return input("Remove these? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _draw(plan: Removal) -> None:
    from collections import Counter

    from ._render import console, count, plain, print_problems, table

    out = console()
    print_problems(out, plan.problems)
    if not plan.records:
        out.print(f"Nothing to remove in {plain(plan.location)}", soft_wrap=True)
        return
    grid = table()
    grid.add_column("kernel", overflow="fold")
    grid.add_column("world", overflow="fold")
    grid.add_column("verdicts", justify="right", no_wrap=True)
    grid.add_column("measurements", justify="right", no_wrap=True)
    grid.add_column("variants", justify="right", no_wrap=True)
    numbers = Counter((one.kernel, one.world, one.kind) for one in plan.records)
    for kernel, world in sorted({(one.kernel, one.world) for one in plan.records}):
        kinds = ("verdict", "measurement", "variants")
        grid.add_row(
            plain(kernel), plain(world), *(str(numbers[kernel, world, kind]) for kind in kinds)
        )
    out.print(grid)
    records = count(len(plan.records), "record")
    out.print(f"{records} in {plain(plan.location)}", soft_wrap=True)
