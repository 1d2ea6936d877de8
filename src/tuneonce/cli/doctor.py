"""``tuneonce doctor``: is it on here, and does everything that it needs work."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._common import add_json_option, add_probe_option, add_store_option

if TYPE_CHECKING:
    from ._checks import Report

_STYLES = {"ok": "green", "note": "yellow", "wrong": "red"}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="is it on here, and does everything that it needs work",
        description="Checks what a Python process started in this environment would find: the "
        "switch, the store and this user's permissions, where everything is kept, Triton, limits. "
        "Exit code 1 if something is wrong. Triton is imported in a child process only.",
    )
    add_probe_option(parser)
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine the environment."""
    import os

    from ._checks import examine
    from ._render import give

    found = examine(os.environ, store=args.store, probe=not args.no_probe)
    give(found, _draw, as_json=args.json)
    return 0 if found.well else 1


def _draw(found: Report) -> None:
    from ._render import console, count, plain, table

    out = console()
    grid = table(show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for check in found.checks:
        grid.add_row(check.verdict, check.name, plain(check.text), style=_STYLES.get(check.verdict))
    out.print(grid)
    wrong = sum(check.verdict == "wrong" for check in found.checks)
    out.print("All is well." if found.well else f"{count(wrong, 'thing')} wrong.")
