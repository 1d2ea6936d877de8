"""``tuneonce bench regret SCRIPT``: how good the stored winners are that a program uses."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import StoreError, TuneonceError
from ._common import base_of, over_base
from ._output import output_of
from ._workload import add_workload_arguments, print_document, run_workload
from .tune import print_end

if TYPE_CHECKING:
    from rich.console import Console

    from ..inspect.workload import Checked, Regret

_DESCRIPTION = """\
Runs a Python program, and wherever it uses a stored verdict for the first time, measures all
candidates again, long and side by side. Regret is how much slower the verdict's winner is than the
fastest. A program is needed because a verdict holds no inputs. Let the GPU do nothing else.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to ``tuneonce bench``."""
    parser = commands.add_parser(
        "regret",
        help="measure stored verdicts again, against all candidates",
        description=_DESCRIPTION,
        usage="%(prog)s [options] SCRIPT [args] | -m MODULE [args]",
    )
    parser.add_argument(
        "--fix", action="store_true", help="replace verdicts that are proven to be wrong"
    )
    add_workload_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the program, then tell what its verdicts cost; returns its exit code."""
    from ..inspect.listing import listing
    from ..inspect.workload import REGRET, regret
    from ..store import open_store

    out = output_of(args, REGRET)
    recheck = {"TUNEONCE_RECHECK": "fix" if args.fix else "report"}
    ran = run_workload(args, variables=recheck, reads=True, writes=args.fix)
    try:
        with open_store(ran.address) as store:
            base = base_of(ran.address)
            entries = listing(store if base is None else over_base(store, base)).entries
    except StoreError as error:
        raise TuneonceError(f"the program ran, but {error}") from error
    found = regret(
        ran.history,
        entries,
        command=ran.command,
        status=ran.status,
        store=ran.store,
        seconds=round(ran.seconds, 3),
        fix=args.fix,
    )
    _draw(found, print_document(found, out))
    return ran.status


def _draw(found: Regret, out: Console) -> None:
    from ._render import count, plain, table

    if found.kernels:
        grid = table()
        grid.add_column("kernel", overflow="fold")
        for heading in ("verdicts", "median regret", "greatest", "wrong"):
            grid.add_column(heading, justify="right", no_wrap=True)
        for kernel in found.kernels:
            grid.add_row(
                plain(kernel.kernel),
                str(kernel.checked),
                _percent(kernel.median_regret),
                _percent(kernel.max_regret),
                str(kernel.wrong),
                style="red" if kernel.wrong > kernel.fixed else None,
            )
        out.print(grid)
        out.print()
        _draw_keys(found, out)
    wrong = sum(one.wrong for one in found.checked)
    fixed = sum(one.fixed for one in found.checked)
    sentences = [f"{count(len(found.checked), 'verdict')} checked", f"{wrong} wrong"]
    if fixed:
        sentences.append(f"{fixed} replaced")
    out.print(f"{', '.join(sentences)}; store: {plain(found.store)}", soft_wrap=True)
    if wrong > fixed and not found.fix:
        out.print("--fix replaces those that are wrong.")
    elif wrong > fixed:
        out.print("Those left have changed meanwhile, or the store cannot be written.")
    if found.tuned:
        out.print(f"{count(found.tuned, 'key')} had no verdict and {_was(found.tuned)} tuned.")
    if found.not_met:
        out.print(f"Not met by this program, of this GPU ({len(found.not_met)}):")
        for one in found.not_met:
            out.print(f"  {plain(one.kernel)}  {plain(one.key)}", soft_wrap=True, style="dim")
    print_end(found.problems, found.status, found.processes, out)


def _draw_keys(found: Regret, out: Console) -> None:
    from itertools import groupby

    from ..model.wording import programs_text
    from ._render import plain, table

    for kernel, rows in groupby(found.checked, key=lambda one: one.kernel):
        out.print(plain(kernel), style="bold")
        grid = table()
        for heading in ("key", "size", "winner", "fastest"):
            grid.add_column(heading, overflow="fold")
        grid.add_column("regret", justify="right", no_wrap=True)
        grid.add_column("±", justify="right", no_wrap=True)
        grid.add_column("", no_wrap=True)
        for one in rows:
            grid.add_row(
                plain(one.key),
                "" if one.work_class is None else programs_text(one.work_class),
                plain(one.winner),
                "the same" if one.fastest == one.winner else plain(one.fastest or "?"),
                _percent(one.regret),
                _percent(one.noise),
                _word(one),
                style="green" if one.fixed else "red" if one.wrong else None,
            )
        out.print(grid)
        out.print()


def _word(one: Checked) -> str:
    if one.regret is None:
        return "does not run"
    if one.fixed:
        return "replaced"
    return "wrong" if one.wrong else "provisional" if one.provisional else ""


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f} %"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
