"""``tuneonce why KERNEL``: the nearest record to each key that was missed, and what differs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._common import (
    add_events_option,
    add_json_option,
    add_last_options,
    add_store_option,
    last_of,
    open_store_of,
    required_events_directory,
    unknown_kernel,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..inspect.explain import LastSeen, Miss, Why

# A list that shares no candidate with the record's would fill the screen; --json has all of it.
_SHOWN = 12


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "why",
        help="why a kernel was tuned again: the nearest record and what differs",
        description="Compares the keys of a kernel that the last processes missed with the records "
        "that existed then, and names the parts that differ.",
    )
    parser.add_argument("kernel", metavar="KERNEL", help="its name, or module:name")
    add_last_options(parser)
    add_store_option(parser)
    add_events_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain the misses of one kernel."""
    from ..events.history import is_label, kernels_met, latest, read_history
    from ..inspect.explain import explain
    from ._render import give

    directory = required_events_directory(args)
    history = read_history(directory)
    # What processes have met is told without a store, too.
    with open_store_of(args, must_be_there=not history) as store:
        looked_at = latest(history, last=last_of(args), since=args.since)
        found = explain(store, looked_at, kernel=args.kernel, events=str(directory))
    met = kernels_met(history)
    is_known = found.records or found.problems or any(is_label(one, args.kernel) for one in met)
    if not is_known:
        where = f"the store {found.location} or the events in {directory}"
        raise unknown_kernel(args.kernel, where=where, known=met)
    give(found, _draw, as_json=args.json)
    return 0


def _draw(found: Why) -> None:
    from ._render import console, count, plain, print_problems

    out = console()
    looked = f"the last {count(found.processes, 'process', plural='es')}"
    if found.last is None:
        none = f"None of {looked} in {plain(found.events)} has met {plain(found.kernel)}."
        out.print(none, soft_wrap=True)
        out.print(f"The store has {count(found.records, 'record')} of it.")
    else:
        _draw_last(out, found.last)
    for miss in found.misses:
        _draw_miss(out, miss)
    print_problems(out, found.problems)


def _draw_last(out: Console, last: LastSeen) -> None:
    from ..model.wording import programs_text
    from ._render import clock, command_text, count, plain

    process = last.process
    described = f"{clock(process.started)}, {command_text(process.command)}"
    outcomes = (f"{n} {plain(name).replace('_', ' ')}" for name, n in last.outcomes.items())
    out.print(f"The last process that met it ({described}): {', '.join(outcomes)}", style="bold")
    refused = last.outcomes.get("not_persisted")
    if refused:
        reasons = ", ".join(plain(reason) for reason in last.reasons)
        out.print(f"  {count(refused, 'key')} not persisted, tuned as stock would: {reasons}")
    for used in last.used:
        key = used.key_text or f"key {used.digest[:12]}"
        what = "not in this store any more" if used.winner is None else used.winner
        why = f" ({plain(used.reason)})" if used.reason else ""
        out.print(
            f"  {used.outcome}{why}: {plain(key)}, {programs_text(used.work_class)}: {plain(what)}"
        )


def _draw_miss(out: Console, miss: Miss) -> None:
    from ..model.wording import programs_text
    from ._render import clock, plain

    times = f", {miss.processes} processes" if miss.processes > 1 else ""
    out.print()
    out.print(f"{plain(miss.kernel)}  {plain(miss.key_text)}", style="bold")
    out.print(f"{plain(miss.world)} · {programs_text(miss.work_class)}", style="cyan")
    out.print(f"{plain(miss.outcome)} at {clock(miss.at)}{times}: {_sentence(miss)}")
    for problem in miss.problems:
        out.print(f"  {plain(problem)}", style="red", soft_wrap=True)
    nearest = miss.nearest
    if nearest is None:
        out.print("  No record of a kernel of this name existed then.")
        return
    out.print(
        f"  Nearest record: {plain(nearest.kernel)}  {plain(nearest.key_text)}, "
        f"{plain(nearest.world)}, {programs_text(nearest.work_class)}"
    )
    for difference in nearest.differences[:_SHOWN]:
        out.print(f"    {plain(difference.text)}", style="yellow")
    if len(nearest.differences) > _SHOWN:
        out.print(f"    … and {len(nearest.differences) - _SHOWN} more (--json lists all)")
    if not nearest.differences:
        out.print("    Nothing differs: it could not be read then, or was published just then.")


def _sentence(miss: Miss) -> str:
    if miss.reason == "all_failed":
        return f"none of its {miss.candidates} candidates could run"
    if miss.reason == "first_candidate":
        return f"the first of its {miss.candidates} candidates that runs was launched"
    missing = miss.candidates - miss.measured_before
    if miss.measured_before:
        return f"{missing} of {miss.candidates} candidates had not been measured"
    return f"nothing was known of its {miss.candidates} candidates"
