"""``tuneonce freeze``: write the winners of a store as one document."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._common import add_store_option, add_world_option, open_store_of, unknown_kernel
from ._output import add_output_options, output_of

if TYPE_CHECKING:
    from rich.console import Console

    from ..inspect.freezing import Freezing
    from ._output import Output


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "freeze",
        help="write the winners of a store as one document",
        description="Writes the winners of a store as one JSON document with a digest, the same "
        "bytes for the same winners. TUNEONCE_FROZEN=FILE then answers from it. Exit code 1 if a "
        "record could not be read: the document lacks what it says.",
    )
    parser.add_argument(
        "--kernel", metavar="PATTERN", help="only a kernel's name, module:name, or a glob on either"
    )
    add_world_option(parser)
    add_store_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Freeze the store."""
    from ..inspect.freezing import freeze
    from ..inspect.record_reader import kernel_names
    from ..model.frozen import FROZEN

    out = output_of(args, FROZEN)
    with open_store_of(args) as store:
        found = freeze(store, pattern=args.kernel, world=args.world)
        nothing = not found.frozen.winners and not found.problems
        if nothing and args.kernel is not None and (names := kernel_names(store)):
            raise unknown_kernel(args.kernel, where=found.location, known=names)
    document = found.frozen.document()
    out.save(document)
    out.print(document)
    _draw(found, out, out.tables())
    return 1 if found.problems else 0


def _draw(found: Freezing, out: Output, console: Console) -> None:
    from itertools import groupby

    from ..model.wording import programs_text
    from ._render import count, plain, print_problems, table

    frozen = found.frozen
    if out.path is None and not out.json:
        by_kernel = groupby(frozen.winners, key=lambda one: (one.kernel, one.world))
        for (kernel, world), winners in by_kernel:
            console.print(plain(kernel), style="bold")
            console.print(plain(world), style="cyan")
            grid = table()
            for heading in ("key", "size", "winner"):
                grid.add_column(heading, overflow="fold")
            for one in winners:
                grid.add_row(plain(one.tuning), programs_text(one.work_class), plain(one.text))
            console.print(grid)
            console.print()
    print_problems(console, found.problems)
    kernels = count(len({one.kernel for one in frozen.winners}), "kernel")
    where = f", written to {plain(out.path)}" if out.path is not None else ""
    console.print(
        f"{count(len(frozen.winners), 'winner')} of {kernels} in {plain(found.location)}, "
        f"digest {frozen.name}{where}",
        soft_wrap=True,
    )
    if found.problems:
        console.print("What could not be read is not among them.")
    if out.path is None and not out.json:
        console.print("`--output FILE` writes them.")
