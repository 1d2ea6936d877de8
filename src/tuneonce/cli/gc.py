"""``tuneonce gc``: remove what was not used for long; asks first, or wants ``--yes``."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..amounts import bytes_of
from ..errors import SettingsError, StoreReadOnly, UsageError
from ._common import (
    add_json_option,
    add_store_option,
    add_world_option,
    binaries_directories,
    journal_directories,
    moment,
    open_store_of,
    store_address,
)
from ._confirm import add_yes_option, asks, may_ask

if TYPE_CHECKING:
    from ..inspect.clearing import Cleared
    from ..inspect.collection import Collection
    from ..inspect.garbage import Criteria, Plan
    from ..store import Store

_HINT = (
    "say what is to go: --older-than 30d, --unused-for 30d, --size 500MB or --world GLOB, or "
    "set TUNEONCE_STORE_LIMIT"
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "gc",
        help="remove what was not used for long",
        description="Removes the keys and profiles that fit all that is said, and what is left "
        "over. Without any option the store is brought down to TUNEONCE_STORE_LIMIT. Prints them "
        "first and asks; --yes answers.",
    )
    parser.add_argument(
        "--older-than",
        metavar="WHEN",
        type=moment,
        help="only those written longer ago: 30d, 12h or a date",
    )
    parser.add_argument(
        "--unused-for",
        metavar="WHEN",
        type=moment,
        help="only those that no start has used for so long: 30d, 12h, or since a date",
    )
    parser.add_argument(
        "--size",
        metavar="SIZE",
        type=_size,
        help="only until the store is so small (500MB, 2GB), what was used longest ago first",
    )
    add_world_option(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would go, and remove nothing"
    )
    add_yes_option(parser)
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def _size(text: str) -> int:
    try:
        return bytes_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    """Remove what the arguments select."""
    from ..inspect.clearing import clear
    from ..inspect.collection import collection
    from ._render import give, print_json

    criteria = _criteria(args)
    with open_store_of(args, journals=False) as store:
        looks_only = args.dry_run or criteria.is_empty
        found = _plan(args, store, criteria, looks_only=looks_only)
        told = collection(store, found, criteria.most_bytes, note=_note())
        if looks_only:
            give(told, _draw, as_json=args.json)
            if criteria.is_empty:
                raise UsageError(f"gc: nothing was removed: {_HINT}")
            return 0
        if not args.json:
            _draw(told)
        if (found.going or found.left_over) and not args.yes:
            if args.json:
                print_json(told)
            if args.json or not may_ask():
                raise UsageError("gc: nothing was removed; pass --yes to remove this")
            if not asks():
                print("Nothing was removed.")
                return 1
            # Somebody may have used, or written, something while the question was open.
            found = _plan(args, store, criteria, looks_only=False).only(found.going)
        done = clear(store, found)
    told.removed = done
    if args.json:
        print_json(told)
    elif found.going or found.left_over:
        _say(done, told.note)
    return 0


def _criteria(args: argparse.Namespace) -> Criteria:
    from ..inspect.garbage import Criteria
    from ..settings import store_limit

    asked = Criteria(args.older_than, args.unused_for, args.size, args.world)
    if not asked.is_empty:
        return asked
    try:
        return Criteria(most_bytes=store_limit(os.environ))
    except SettingsError as error:
        raise UsageError(str(error)) from error


def _plan(args: argparse.Namespace, store: Store, criteria: Criteria, *, looks_only: bool) -> Plan:
    from ..inspect.garbage import Places, plan

    now = time.time() if looks_only else _clock(store)
    beside = store.describe().location
    journals = tuple(journal_directories(store, store_address(args)))
    binaries = [one for one in binaries_directories(args, store) if one.parent != Path(beside)]
    return plan(store, criteria, now=now, places=Places(journals, tuple(binaries)))


def _clock(store: Store) -> float:
    """The store's own time, which only what is written to it tells. Raises StoreReadOnly."""
    from ..store.walking import clock

    info = store.describe()
    try:
        why = "" if info.writable else info.note or "it was opened to be read only"
        if not why:
            return clock(info.location)
    except OSError as error:
        why = error.strerror or str(error)
    raise StoreReadOnly(
        f"nothing can be removed from {info.url}: {why}. --dry-run looks only", store=info.url
    )


def _note() -> str:
    if not os.environ.get("TUNEONCE_REMOTE", "").strip():
        return ""
    return "What the remote (TUNEONCE_REMOTE) has of it comes back with the next `tuneonce pull`."


def _draw(told: Collection) -> None:
    from ._render import ago, console, count, plain, size, table

    out = console()
    grid = table(show_header=False)
    grid.add_column(no_wrap=True)
    for _ in range(2):
        grid.add_column(justify="right", no_wrap=True)
    for kind, held in told.kinds.items():
        grid.add_row(kind, count(held.files, "file"), size(held.bytes))
    out.print(grid)
    where = plain(told.location)
    out.print(f"{size(told.bytes)} without binaries, in {where}", soft_wrap=True)
    if told.groups:
        out.print()
        grid = table()
        grid.add_column("to be removed", overflow="fold")
        grid.add_column("world", overflow="fold")
        for heading in ("keys", "size", "last used"):
            grid.add_column(heading, justify="right", no_wrap=True)
        for one in told.groups:
            kernel = one.kernel if one.kind == "key" else f"profile {one.kernel}"
            number = str(one.number) if one.kind == "key" else ""
            grid.add_row(plain(kernel), plain(one.world), number, size(one.bytes), ago(one.used_at))
        out.print(grid)
    for kind, held in told.left_over.items():
        dead = f"{count(held.files, 'file')}, {size(held.bytes)}"
        out.print(f"left over: {kind}: {held.files if kind == 'folders' else dead}")
    _draw_kept(told)


def _draw_kept(told: Collection) -> None:
    from ._render import count, size

    keys, profiles = told.numbers
    left_over = sum(one.files for one in told.left_over.values())
    if not (keys or profiles or left_over):
        print("Nothing to remove.")
    else:
        print(
            f"{_numbers(keys, profiles, left_over)} to be removed; {size(told.bytes_after)} stay."
        )
    if told.recent.files:
        print(f"{told.recent.files} written within the last minutes, {size(told.recent.bytes)}.")
    if told.others.files:
        print(f"{told.others.files} left to other users, {size(told.others.bytes)}.")
    if told.closed:
        print(f"{count(told.closed, 'folder')} closed to this user.")
    if told.unread_profiles:
        print(
            f"{count(told.unread_profiles, 'part')} of profiles cannot be read; what only they "
            "name counts as unused since it was written."
        )
    if told.most_bytes is not None and told.bytes_after > told.most_bytes:
        print(f"That is more than {size(told.most_bytes)}: nothing else may go.")


def _numbers(keys: int, profiles: int, left_over: int) -> str:
    from ._render import count

    found = [count(keys, "key")] if keys or not (profiles or left_over) else []
    found += [count(profiles, "profile")] if profiles else []
    return ", ".join([*found, *([f"{left_over} left over"] if left_over else [])])


def _say(done: Cleared, note: str) -> None:
    from ._render import size

    left_over = sum(one.files for one in done.left_over.values())
    print(f"{_numbers(done.keys, done.profiles, left_over)} removed, {size(done.bytes)}.")
    if done.changed:
        print(f"{done.changed} had changed, or are in use, and are left.")
    if done.refused:
        print(f"{done.refused} may not be removed by this user, and are left.")
    if note:
        print(note)
