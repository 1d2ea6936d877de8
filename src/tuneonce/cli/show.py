"""``tuneonce show KERNEL``: every measurement behind a kernel's verdicts, and what sizes change."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._common import (
    add_json_option,
    add_store_option,
    events_directory,
    open_store_of,
    unknown_kernel,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..inspect.listing import Entry, Line, Listing
    from ..inspect.over_classes import Loss, OneForAll, OverClasses


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "show",
        help="every measurement behind a kernel's verdicts",
        description="Draws all measurements of each tuning key as bars, the fastest first, and "
        "lists candidates that failed and tunings that were not finished. Of keys that have "
        "verdicts of several work classes it says what one verdict for all sizes would cost.",
    )
    parser.add_argument("kernel", metavar="KERNEL", help="its name, or module:name")
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show one kernel."""
    from ..events.history import KnownKeys
    from ..inspect.listing import sheets
    from ..inspect.record_reader import kernel_names
    from ._render import give

    with open_store_of(args) as store:
        found = sheets(store, kernel=args.kernel, known=KnownKeys(events_directory(args)))
        if not found.entries and not found.problems:
            raise unknown_kernel(args.kernel, where=found.location, known=kernel_names(store))
    give(found, _draw, as_json=args.json)
    return 0


def _draw(found: Listing) -> None:
    from ._render import console, print_problems

    out = console()
    for entry in found.entries:
        _draw_entry(out, entry)
    for key in found.over_classes or []:
        _draw_over_classes(out, key)
    print_problems(out, found.problems)


def _draw_entry(out: Console, entry: Entry) -> None:
    from rich.bar import Bar

    from ..model.wording import programs_text
    from ._render import plain, seconds, table

    out.print(f"{plain(entry.kernel)}  {plain(entry.key_text)}", style="bold")
    out.print(f"{plain(entry.world)} · {programs_text(entry.work_class)}", style="cyan")
    out.print(_about(entry))
    lines = entry.measurements or []
    slowest = max((m.median_ms for m in lines if m.median_ms is not None), default=0.0)
    grid = table()
    grid.add_column("", no_wrap=True, width=1)
    grid.add_column("candidate", overflow="fold")
    grid.add_column("", width=16)
    grid.add_column("median ms", justify="right", no_wrap=True)
    grid.add_column("20–80 %", no_wrap=True)
    seen = any(line.bits for line in lines)
    if seen:
        grid.add_column("bits", no_wrap=True)
    for line in lines:
        time = line.median_ms
        cells = [
            "*" if line.winner else "",
            plain(line.config if line.config is not None else f"~{line.candidate}")
            + (" (first)" if line.first else ""),
            _unmeasured(line) if time is None else Bar(slowest or 1.0, 0, time, width=16),
            "" if time is None else seconds(time),
            ""
            if line.p20_ms is None or line.p80_ms is None
            else f"{seconds(line.p20_ms)}–{seconds(line.p80_ms)}",
            *([_bits(line)] if seen else []),
        ]
        grid.add_row(*cells, style="green" if line.winner else "red" if line.failed else None)
    out.print(grid)
    out.print()


def _bits(line: Line) -> str:
    """The class of equal bits, and how far that is from the rest."""
    from ._render import plain

    if not line.bits:
        return ""
    if not line.distance:
        return plain(line.bits) if line.distance == 0 else f"{plain(line.bits)}, no number"
    return f"{plain(line.bits)}, {line.distance:.2g} apart"


def _unmeasured(line: Line) -> str:
    from ._render import plain

    return "not measured" if line.failed is None else plain(line.failed)


def _about(entry: Entry) -> str:
    from ._render import ago, plain, seconds

    measured = f"{entry.measured - entry.failed} measured, {entry.failed} failed"
    if entry.origin is None:
        return f"unfinished: {measured}, the last {ago(entry.published_at)}; no verdict yet"
    spent = f", tuned in {seconds(entry.tune_s)} s" if entry.tune_s else ""
    gain = f", {entry.gain:.2f}× over the first candidate" if entry.gain is not None else ""
    return (
        f"{plain(entry.origin)} {ago(entry.published_at)}{spent}: {measured}, * is the winner{gain}"
        f"{_constancy(entry)}"
    )


def _constancy(entry: Entry) -> str:
    """Whether candidates agree, and what it costs to keep the first one's bits."""
    if not entry.outputs:
        return ""
    seen = entry.outputs
    disagree = "; candidates disagree" if seen.disagrees else ""
    if seen.unsteady and not seen.classes:
        return f"{disagree}; no candidate equals itself"
    cost = "?" if seen.cost is None else f"{seen.cost:.1%}"
    return f"{disagree}; the first one's bits cost {cost}"


def _draw_over_classes(out: Console, key: OverClasses) -> None:
    from ..model.wording import programs_text
    from ._render import plain, seconds, table

    out.print(f"{plain(key.kernel)}  {plain(key.key_text)} over its work classes", style="bold")
    out.print(plain(key.world), style="cyan")
    grid = table()
    grid.add_column("class", no_wrap=True)
    grid.add_column("sizes", no_wrap=True)
    grid.add_column("winner", overflow="fold")
    grid.add_column("ms", justify="right", no_wrap=True)
    grid.add_column("measured", justify="right", no_wrap=True)
    grid.add_column("origin", no_wrap=True)
    for one in key.classes:
        grid.add_row(
            plain(one.work_class),
            programs_text(one.work_class),
            plain(one.winner),
            "" if one.winner_ms is None else seconds(one.winner_ms),
            f"{one.measured - one.failed} of {one.candidates}",
            plain(one.origin),
        )
    out.print(grid)
    best = key.best
    loses = "no candidate was measured at every size" if best is None else _loses(best)
    out.print(f"one verdict for all, the best: {loses}", soft_wrap=True)
    smallest = f"the winner of {plain(key.classes[0].work_class)}"
    out.print(f"one verdict for all, {smallest}: {_loses(key.of_smallest)}", soft_wrap=True)
    out.print()


def _loses(one: OneForAll) -> str:
    from ._render import plain

    each = ", ".join(f"{plain(loss.work_class)} {_loss(loss)}" for loss in one.losses)
    return f"{plain(one.config)} loses {each}"


def _loss(one: Loss) -> str:
    if one.loss is None:
        return "not measured" if one.failed is None else "failed"
    return f"{one.loss:.1%}"
