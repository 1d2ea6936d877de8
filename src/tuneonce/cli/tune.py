"""``tuneonce tune SCRIPT``: run a program only to fill the store, and show what was tuned."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import UsageError
from ._output import output_of
from ._workload import add_workload_arguments, print_document, run_workload

if TYPE_CHECKING:
    from rich.console import Console

    from ..inspect.workload import Filled


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "tune",
        help="run a program only to fill the store, and show what was tuned",
        description="Runs a Python program with tuneonce on and shows what its processes tuned, "
        "what that gained over each kernel's first candidate, and how long it took. The exit code "
        "is the program's.",
        usage="%(prog)s [options] SCRIPT [args] | -m MODULE [args]",
    )
    add_workload_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the program, then tell what it did; returns its exit code.

    Raises UsageError if it ended well and has met no kernel: it is the wrong one, or an option of
    this command was taken for its name.
    """
    from ..inspect.workload import TUNE, filled

    out = output_of(args, TUNE)
    # Keys are measured, whatever a server of this environment does with those that are new to it.
    usual = dict.fromkeys(
        ("TUNEONCE_RECHECK", "TUNEONCE_ON_MISS_STARTING", "TUNEONCE_ON_MISS_SERVING"), ""
    )
    ran = run_workload(args, variables=usual, reads=False, writes=True)
    found = filled(
        ran.history,
        command=ran.command,
        status=ran.status,
        store=ran.store,
        seconds=round(ran.seconds, 3),
    )
    _draw(found, print_document(found, out))
    met = found.tuned or found.known or found.provisional or found.not_persisted
    if not met and not ran.status:
        raise UsageError(
            f"tune: {' '.join(ran.command)} launched no autotuned kernel: nothing to tune"
        )
    return ran.status


def _draw(found: Filled, out: Console) -> None:
    from itertools import groupby
    from statistics import median_low

    from ..model.wording import programs_text
    from ._render import count, plain, seconds, table

    for kernel, rows in groupby(found.tuned, key=lambda one: one.kernel):
        out.print(plain(kernel), style="bold")
        grid = table()
        grid.add_column("key", overflow="fold")
        grid.add_column("size", overflow="fold")
        grid.add_column("cand", justify="right", no_wrap=True)
        grid.add_column("winner", overflow="fold")
        for heading in ("gain", "took s", "meas s"):
            grid.add_column(heading, justify="right", no_wrap=True)
        for one in rows:
            grid.add_row(
                plain(one.key),
                "" if one.work_class is None else programs_text(one.work_class),
                str(one.candidates),
                plain(one.winner or "?"),
                "" if one.gain is None else f"{one.gain:.2f}×",
                seconds(one.seconds),
                seconds(one.measure_s),
            )
        out.print(grid)
        out.print()
    took = sum(one.seconds for one in found.tuned)
    gained = [one.gain for one in found.tuned if one.gain is not None]
    measuring = sum(one.measure_s for one in found.tuned)
    sentences = [
        f"{count(len(found.tuned), 'key')} tuned in {seconds(took)} s, "
        f"{seconds(measuring)} s of them measuring"
    ]
    if gained:
        sentences.append(
            f"gain over the first candidate: median {median_low(gained):.2f}×, "
            f"greatest {max(gained):.2f}×"
        )
    for sentence in sentences:
        out.print(sentence, soft_wrap=True)
    known = [f"{found.known} known before"]
    if found.provisional:
        known.append(f"{found.provisional} used a verdict of another size")
    if found.not_persisted:
        known.append(f"{found.not_persisted} met that cannot be kept")
    out.print(f"{', '.join(known)}; store: {plain(found.store)}", soft_wrap=True)
    print_end(found.problems, found.status, found.processes, out)


def print_end(problems: dict[str, int], status: int, processes: int, out: Console) -> None:
    """What went wrong, if anything did."""
    from ._render import plain

    if problems:
        told = ", ".join(f"{plain(name)} {n}" for name, n in sorted(problems.items()))
        out.print(f"problems: {told}", style="red", soft_wrap=True)
    if not processes:
        out.print("No process of it launched an autotuned kernel, or tuneonce was not on in it.")
    if status:
        out.print(f"The program ended with exit code {status}.", style="red")
