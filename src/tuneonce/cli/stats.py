"""``tuneonce stats``: what the last processes found, tuned and saved."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._common import (
    add_events_option,
    add_json_option,
    add_last_options,
    add_store_option,
    last_of,
    required_events_directory,
)

if TYPE_CHECKING:
    from rich.table import Table

    from ..events.history import Statistics
    from ..events.totals import Totals


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "stats",
        help="what the last processes found, tuned and saved",
        description="Adds up the events of the last processes. Saved seconds are the recorded "
        "tuning time of every hit.",
    )
    add_last_options(parser)
    add_store_option(parser)
    add_events_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Add up the last processes."""
    from ..events.history import statistics
    from ._render import print_json

    found = statistics(required_events_directory(args), last=last_of(args), since=args.since)
    if args.json:
        print_json(found)
    else:
        _draw(found, since=args.since is not None)
    return 0


def _draw(found: Statistics, *, since: bool) -> None:
    from ._render import clock, command_text, console, is_terminal, plain, table

    out = console()
    narrow = is_terminal()
    between = "\n" if narrow else " "
    if not found.processes:
        when = "since then " if since else ""
        out.print(f"No process has left events {when}in {plain(found.events)}", soft_wrap=True)
        return
    grid = table()
    most = 24 if narrow else None
    grid.add_column("process", overflow="ellipsis", no_wrap=True, max_width=most)
    for heading in ("hits", "prov", "miss", "tunes", "comp", "load", "tune s", "comp s", "saved"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.padding = (0, 1, 0, 0)
    for process in found.processes:
        when = f"{clock(process.started)} {plain(process.mode)}"
        title = f"{when}{between}{command_text(process.command)}"
        grid.add_row(title, *_numbers(process.totals))
    if len(found.processes) > 1:
        grid.add_row(f"all {len(found.processes)}", *_numbers(found.totals), style="bold")
    out.print(grid)
    totals = found.totals
    if totals.ready:
        out.print(_serving(found))
    out.print(_phases(totals))
    out.print(
        f"{totals.candidates_measured} candidates measured, {totals.not_persisted} keys not "
        "persisted. prov: provisional hits; comp: compiled; load: loaded from Triton's cache; "
        "saved: seconds. module: loaded onto the device; waited: what launches stood still for, "
        "which compilers that run beside them are not."
    )
    remembered = [
        f"{count} {what}"
        for count, what in (
            (totals.restored, "binaries restored"),
            (totals.replayed, "variants replayed"),
            (totals.pulled, "records pulled"),
            (totals.pushed, "records pushed"),
        )
        if count
    ]
    if remembered:
        out.print(", ".join(remembered))
    if totals.borrowed or totals.shared:
        out.print(
            f"not tuned: {totals.borrowed} misses ran the winner of a near key "
            f"(`tuneonce ls --wanted`), {totals.shared} keys that never stop share a verdict"
        )
    if totals.explored:
        milliseconds = 1000 * totals.excess_s
        out.print(
            f"{totals.explored} keys tuned by their traffic, for {milliseconds:.1f} ms of GPU time"
        )
    if totals.replaced:
        share = 100 * totals.gained / totals.replaced
        out.print(
            f"{totals.replaced} winners took the place of another size's or key's: their launches "
            f"take {share:.1f} % less, in the mean"
        )
    for heading, counts in (
        ("reasons of what was no hit", totals.reasons),
        ("problems", totals.problems),
        ("launches that decide nothing", totals.untuned),
        ("outputs not looked at, by key", totals.outputs_left_out),
    ):
        if counts:
            told = ", ".join(f"{plain(name)} {n}" for name, n in sorted(counts.items()))
            out.print(f"{heading}: {told}")


def _serving(found: Statistics) -> Table:
    """What the processes did after they had said that their start-up was over."""
    from ._render import clock, command_text, is_terminal, plain, seconds, table

    grid = table()
    most = 40 if is_terminal() else None
    grid.add_column("while serving", overflow="ellipsis", no_wrap=True, max_width=most)
    for heading in ("ready", "tunes", "comp", "seconds"):
        grid.add_column(heading, justify="right", no_wrap=True)
    ready = [process for process in found.processes if process.totals.ready]
    rows: list[tuple[str, Totals, str | None]] = [
        (f"{clock(p.started)} {plain(p.mode)} {command_text(p.command)}", p.totals, None)
        for p in ready
    ]
    if len(found.processes) > 1:
        rows.append((f"all {len(ready)} that were ready", found.totals, "bold"))
    for title, totals, style in rows:
        grid.add_row(
            title,
            str(totals.ready),
            str(totals.serving_tunes),
            str(totals.serving_compiles),
            seconds(totals.serving_s),
            style=style,
        )
    return grid


def _phases(totals: Totals) -> Table:
    """What was done before and after start-up was over, and how long launches waited for it."""
    from ._render import seconds, table

    grid = table()
    grid.add_column("phase", no_wrap=True)
    for heading in ("comp", "s", "load", "s", "module", "s", "measured", "s", "waited s"):
        grid.add_column(heading, justify="right", no_wrap=True)
    phases = [("starting", totals.starting)]
    if totals.ready:
        phases.append(("serving", totals.serving))
    for name, phase in phases:
        row = [name]
        for work in (phase.compile, phase.disk_load, phase.module_load, phase.measure):
            row += [str(work.count), seconds(work.seconds)]
        grid.add_row(*row, seconds(phase.waited_s))
    return grid


def _numbers(totals: Totals) -> list[str]:
    from ._render import seconds

    return [
        str(totals.hits),
        str(totals.provisional),
        str(totals.misses),
        str(totals.tunes),
        str(totals.compiles),
        str(totals.disk_loads),
        seconds(totals.tune_s),
        seconds(totals.compile_s),
        seconds(totals.saved_s),
    ]
