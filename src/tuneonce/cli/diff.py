"""``tuneonce diff``: where two stores, or two worlds, have different winners."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING

from ..errors import StoreError, UsageError
from ._common import add_json_option, unknown_kernel

if TYPE_CHECKING:
    from ..inspect.differing import Comparison, Half, Losses


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "diff",
        help="where two stores, or two worlds, have different winners, and what that costs",
        description="Compares the winners of two stores, world by world, or those of two worlds, "
        "in one store or two, and says what each side would lose by the other's. Exit code 0 if "
        "both know the same keys with the same winners, 1 if not, 2 if that cannot be told.",
    )
    parser.add_argument("a", nargs="?", metavar="A", help="a store; default: as for `tuneonce ls`")
    parser.add_argument("b", nargs="?", metavar="B", help="another store; default: the first")
    parser.add_argument(
        "--world",
        action="append",
        default=[],
        metavar="GLOB",
        help="only of this product, architecture (cuda:90) or compiler, as `tuneonce ls` has "
        "them; given twice: the world of the first side, and of the other",
    )
    parser.add_argument(
        "--kernel", metavar="PATTERN", help="only a kernel's name, module:name, or a glob on either"
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare."""
    from ..inspect.differing import Place, differ
    from ..inspect.record_reader import kernel_names
    from ..settings import store_to_look_at
    from ._carrying import opened
    from ._render import give

    worlds: list[str] = args.world
    across = len(worlds) == 2
    if len(worlds) > 2:
        raise UsageError("diff: --world is given twice at most, once for each side")
    if args.b is None and not across:
        raise UsageError("diff: name two stores, or two worlds by giving --world twice")
    try:
        with contextlib.ExitStack() as stack:
            first = store_to_look_at(os.environ) if args.a is None else args.a
            one = stack.enter_context(opened(first))
            other = one if args.b is None else stack.enter_context(opened(args.b))
            left = Place(one, worlds[0] if worlds else None)
            right = Place(other, worlds[-1] if worlds else None)
            found = differ(left, right, across=across, pattern=args.kernel)
            names = {*kernel_names(one), *kernel_names(other)}
    except StoreError as error:
        raise UsageError(str(error)) from error  # exit code 2, as 1 says that they differ
    nothing = found.is_same and not found.same and not found.problems
    if nothing and args.kernel is not None and names:
        raise unknown_kernel(args.kernel, where="either", known=names)
    give(found, _draw, as_json=args.json)
    return 0 if found.is_same else 1


def _draw(found: Comparison) -> None:
    from itertools import groupby

    from ..model.wording import programs_text
    from ._render import console, count, plain, print_problems, table

    out = console()
    names = ("A", "B")
    for kernel, of_kernel in groupby(found.different, key=lambda one: one.kernel):
        out.print(plain(kernel), style="bold")
        for world, rows in groupby(of_kernel, key=lambda one: one.left.world):
            if found.worlds is None:
                out.print(plain(world), style="cyan")
            grid = table()
            for heading in ("key", "size", *(f"winner of {name}" for name in names)):
                grid.add_column(heading, overflow="fold")
            for name in names:
                grid.add_column(f"{name} loses", justify="right", no_wrap=True)
            for one in rows:
                sides = (one.left, one.right)
                grid.add_row(
                    plain(one.key_text),
                    programs_text(one.work_class),
                    *(plain(side.winner) for side in sides),
                    *map(_loss, sides),
                )
            out.print(grid)
        out.print()
    print_problems(out, found.problems)
    for name, place, number in zip(names, (found.left, found.right), (0, 1), strict=True):
        world = "" if found.worlds is None else f", {found.worlds[number] or 'no world'}"
        out.print(f"{name}: {plain(place)}{plain(world)}", soft_wrap=True)
    both = found.same + len(found.different)
    out.print(
        f"{count(both, 'key')} in both, {len(found.different)} with different winners; "
        f"{found.only_left} only in A, {found.only_right} only in B"
    )
    if found.different:
        out.print(_summary("A", "B", found.left_loses))
        out.print(_summary("B", "A", found.right_loses))


def _loss(half: Half) -> str:
    if half.loss is None:
        return "not measured" if half.failed is None else "failed"
    return f"{half.loss:.1%}"


def _summary(name: str, other: str, losses: Losses) -> str:
    unknown = f"; {losses.not_measured} not measured" if losses.not_measured else ""
    if losses.median is None or losses.worst is None:
        return f"What {name} would lose by the winners of {other} was not measured."
    return (
        f"By the winners of {other}, {name} would lose {losses.median:.1%} in the median and "
        f"{losses.worst:.1%} at worst{unknown}"
    )
