"""``tuneonce rm``: remove records; asks first, or wants ``--yes``."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from ..errors import UsageError
from ._common import (
    add_json_option,
    add_pattern,
    add_store_option,
    add_world_option,
    binaries_directories,
    events_directory,
    open_store_of,
    unknown_kernel,
)
from ._confirm import add_yes_option, asks, may_ask
from ._numbers import not_negative

if TYPE_CHECKING:
    from ..inspect.kept_files import KeptFiles
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
    parser.add_argument("--all", action="store_true", help="every kernel, profile and kept binary")
    add_world_option(parser)
    parser.add_argument(
        "--older-than", metavar="DAYS", type=_days, help="only those written longer ago"
    )
    parser.add_argument(
        "--origin",
        metavar="ORIGIN",
        help="only verdicts measured, assembled, rechecked, explored, or from stock-cache",
    )
    add_yes_option(parser)
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
    from ..inspect.kept_files import kept_files, remove_kept
    from ..inspect.record_reader import kernel_names
    from ..inspect.upkeep import plan_removal, remove
    from ._render import print_json

    selection = _selection(args)
    with open_store_of(args, with_base=False) as store:
        plan = plan_removal(store, selection, known=KnownKeys(events_directory(args)))
        if not plan.matched and args.pattern is not None and (names := kernel_names(store)):
            raise unknown_kernel(args.pattern, where=plan.location, known=names)
        everything = selection.is_of_no_kernel and selection.before is None
        kept = kept_files(binaries_directories(args, store)) if everything else []
        if not args.json:
            _draw(plan, kept)
        if (plan.records or kept) and not args.yes:
            if args.json:
                print_json(plan)
            if args.json or not may_ask():
                raise UsageError("rm: nothing was removed; pass --yes to remove this")
            if not asks():
                print("Nothing was removed.")
                return 1
        done = remove(store, plan)
        binaries = remove_kept(kept)
    if args.json:
        print_json(done)
    elif done.records or binaries:
        changed = f", {done.changed} had changed and are left" if done.changed else ""
        also = f", and {binaries} of kept binaries" if binaries else ""
        print(f"{done.removed} removed{also}{changed}.")
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


def _draw(plan: Removal, kept: list[KeptFiles]) -> None:
    from collections import Counter

    from ._render import console, count, megabytes, plain, print_problems, table

    out = console()
    print_problems(out, plan.problems)
    for one in kept:
        files = count(one.files, "file")
        held = f"{files} of compiled binaries, {megabytes(one.bytes)} MB, in {plain(one.directory)}"
        out.print(held, soft_wrap=True)
    if not plan.records and not kept:
        out.print(f"Nothing to remove in {plain(plan.location)}", soft_wrap=True)
        return
    grid = table()
    grid.add_column("kernel", overflow="fold")
    grid.add_column("world", overflow="fold")
    grid.add_column("verdicts", justify="right", no_wrap=True)
    grid.add_column("measurements", justify="right", no_wrap=True)
    grid.add_column("variants", justify="right", no_wrap=True)
    parts = Counter(one.kernel for one in plan.records if one.kind == "profile")
    for profile, number in sorted(parts.items()):
        out.print(f"profile {plain(profile)}: {count(number, 'part')}", soft_wrap=True)
    of_kernels = [one for one in plan.records if one.kind != "profile"]
    numbers = Counter((one.kernel, one.world, one.kind) for one in of_kernels)
    for kernel, world in sorted({(one.kernel, one.world) for one in of_kernels}):
        kinds = ("verdict", "measurement", "variants")
        grid.add_row(
            plain(kernel), plain(world), *(str(numbers[kernel, world, kind]) for kind in kinds)
        )
    if of_kernels:
        out.print(grid)
    records = count(len(plan.records), "record")
    out.print(f"{records} in {plain(plan.location)}", soft_wrap=True)
