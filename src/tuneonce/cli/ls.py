"""``tuneonce ls``: what is in the store, by kernel, world and tuning key."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import UsageError
from ._common import (
    add_json_option,
    add_pattern,
    add_store_option,
    base_text,
    events_directory,
    open_store_of,
    unknown_kernel,
)

if TYPE_CHECKING:
    from ..inspect.listing import Entry, Listing
    from ..inspect.profile_reader import ProfileListing
    from ..inspect.wanted import WantedKeys


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "ls",
        help="what is in the store",
        description="Lists kernels, the worlds they were tuned in, their tuning keys and winners. "
        "The gain is the time of the kernel's first candidate over that of the winner.",
    )
    add_pattern(parser)
    parser.add_argument(
        "--wanted",
        action="store_true",
        help="only the keys that were met without a verdict and are to be measured",
    )
    parser.add_argument(
        "--profiles",
        action="store_true",
        help="instead, what programs needed: by program, for its next start",
    )
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the store."""
    from ..events.history import KnownKeys
    from ..inspect.listing import listing
    from ..inspect.record_reader import kernel_names
    from ..inspect.wanted import wanted
    from ._render import give

    if args.profiles:
        return _list_profiles(args)
    with open_store_of(args) as store:
        if args.wanted:
            give(wanted(store, pattern=args.pattern), _draw_wanted, as_json=args.json)
            return 0
        found = listing(store, pattern=args.pattern, known=KnownKeys(events_directory(args)))
        nothing = not found.entries and not found.problems
        if nothing and args.pattern is not None and (names := kernel_names(store)):
            raise unknown_kernel(args.pattern, where=found.location, known=names)
    give(found, _draw, as_json=args.json)
    return 0


def _list_profiles(args: argparse.Namespace) -> int:
    from ..inspect.profile_reader import profile_listing
    from ._render import give

    if args.pattern is not None:
        raise UsageError("ls: --profiles lists programs, and takes no kernel")
    with open_store_of(args) as store:
        found = profile_listing(store)
    give(found, _draw_profiles, as_json=args.json)
    return 0


def _draw_profiles(found: ProfileListing) -> None:
    from ._render import age, console, count, plain, print_problems, table

    out = console()
    if found.profiles:
        grid = table()
        grid.add_column("profile", overflow="fold")
        for heading in ("starts", "kernels", "variants", "keys", "shared", "last used"):
            grid.add_column(heading, justify="right", no_wrap=True)
        for row in found.profiles:
            numbers = (row.starts, row.kernels, row.variants, row.keys, row.shared)
            grid.add_row(plain(row.name), *map(str, numbers), age(row.last_used))
        out.print(grid)
    print_problems(out, found.problems)
    held = count(len(found.profiles), "profile")
    out.print(f"{held} in {plain(found.location)}", soft_wrap=True)


def _draw(found: Listing) -> None:
    from itertools import groupby

    from ..inspect.holdings import BINARIES, Holdings
    from ..model.wording import programs_text
    from ._render import age, console, count, plain, print_problems, size, table

    out = console()
    if not found.entries and not found.problems:
        out.print(f"The store is empty: {plain(found.location)}", soft_wrap=True)
    several = _several(found.entries, lambda e: e.kernel, lambda e: e.kernel_id)
    for (label, kernel_id), of_kernel in groupby(
        found.entries, key=lambda e: (e.kernel, e.kernel_id)
    ):
        version = f"  ~{kernel_id.rpartition('~')[2]}" if label in several else ""
        out.print(f"{plain(label)}{version}", style="bold")
        entries = list(of_kernel)
        worlds = _several(entries, lambda e: e.world, lambda e: e.world_id)
        for (world, world_id), rows in groupby(entries, key=lambda e: (e.world, e.world_id)):
            build = f"  ~{world_id.rpartition('~')[2]}" if world in worlds else ""
            out.print(f"{plain(world)}{build}", style="cyan")
            grid = table()
            for heading in ("key", "size", "winner"):
                grid.add_column(heading, overflow="fold")
            grid.add_column("gain", justify="right", no_wrap=True)
            grid.add_column("origin", no_wrap=True)
            told = any(map(_outputs, entries))
            if told:
                grid.add_column("outputs", no_wrap=True)
            grid.add_column("age", justify="right", no_wrap=True)
            for e in rows:
                grid.add_row(
                    plain(e.key_text),
                    programs_text(e.work_class),
                    plain(_winner(e)),
                    "" if e.gain is None else f"{e.gain:.2f}×",
                    plain(e.origin or "unfinished") + ", base" * e.base,
                    *([_outputs(e)] if told else []),
                    age(e.published_at),
                )
            out.print(grid)
        out.print()
    print_problems(out, found.problems)
    kernels = len({e.kernel_id for e in found.entries})
    if found.entries:
        verdicts = sum(e.origin is not None for e in found.entries)
        held = f"{count(kernels, 'kernel')}, {count(verdicts, 'verdict')}"
        where = f"{plain(found.location)}{base_text(found.base)}"
        out.print(f"{held} in {where}", soft_wrap=True)
    if any(map(_outputs, found.entries)):
        out.print(
            "outputs: candidates are wrong, and not used, if they write something else than most; "
            "`tuneonce show KERNEL` tells which."
        )
    if isinstance(found.held, Holdings) and found.held.kinds:
        sizes = {kind: size(held.bytes) for kind, held in found.held.kinds.items()}
        beside = f"; and {sizes.pop(BINARIES)} of compiled binaries" if BINARIES in sizes else ""
        kinds = ", ".join(f"{kind} {number}" for kind, number in sizes.items())
        out.print(f"{size(found.held.bytes)}: {kinds or 'no records'}{beside}", soft_wrap=True)


def _draw_wanted(found: WantedKeys) -> None:
    from itertools import groupby

    from ..model.wording import programs_text
    from ._render import age, console, count, plain, print_problems, table

    out = console()
    for kernel, of_kernel in groupby(found.keys, key=lambda one: one.kernel):
        out.print(plain(kernel), style="bold")
        for world, rows in groupby(of_kernel, key=lambda one: one.world):
            out.print(plain(world), style="cyan")
            grid = table()
            for heading in ("key", "size"):
                grid.add_column(heading, overflow="fold")
            grid.add_column("cand", justify="right", no_wrap=True)
            grid.add_column("met", justify="right", no_wrap=True)
            for one in rows:
                met = age(one.recorded_at)
                size = programs_text(one.work_class)
                grid.add_row(plain(one.key_text), size, str(one.candidates), met)
            out.print(grid)
        out.print()
    print_problems(out, found.problems)
    keys = count(len(found.keys), "key")
    out.print(f"{keys} to be measured in {plain(found.location)}", soft_wrap=True)
    if found.keys:
        out.print(
            "The next start that tunes measures those that it meets; so does `tuneonce tune`."
        )


def _outputs(entry: Entry) -> str:
    """What is to be known of what its candidates write; mostly nothing."""
    if entry.wrong:
        return f"{entry.wrong} wrong"
    return "disagree" if entry.outputs and entry.outputs.disagrees else ""


def _winner(entry: Entry) -> str:
    if entry.origin is None:
        return f"({entry.measured} measured)"
    return entry.winner or "?"


def _several(entries: list[Entry], text: _Field, identity: _Field) -> set[str]:
    """The texts that stand for more than one thing and need its digest beside them."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        found.setdefault(text(entry), set()).add(identity(entry))
    return {shown for shown, identities in found.items() if len(identities) > 1}


if TYPE_CHECKING:
    from collections.abc import Callable

    _Field = Callable[[Entry], str]
