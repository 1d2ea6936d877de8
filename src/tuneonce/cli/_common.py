"""What the commands that look at a store have in common: its options, and finding both places."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..store import Store


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--store``."""
    parser.add_argument(
        "--store",
        metavar="URL",
        help="a directory or URL (default: where a process started here would keep its results)",
    )


def add_events_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--events``."""
    parser.add_argument(
        "--events",
        metavar="DIR",
        type=Path,
        help="the events files (default: TUNEONCE_EVENTS, else beside the store)",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")


def store_address(args: argparse.Namespace) -> str:
    """The store that the command line means, else the one of the environment."""
    from ..settings import store_location

    chosen = {} if args.store is None else {"TUNEONCE_STORE": args.store}
    return store_location({**os.environ, **chosen})


def open_store_of(args: argparse.Namespace) -> Store:
    """Open it. Raises UsageError for an address that cannot mean a store."""
    from ..store import open_store

    if args.store is not None and not args.store.strip():
        raise UsageError("--store is empty")
    try:
        return open_store(store_address(args))
    except SettingsError as error:
        raise UsageError(str(error)) from error


def events_directory(args: argparse.Namespace) -> Path | None:
    """Where processes that use the store write their events; None if they write none.

    Raises UsageError for a setting that cannot mean a directory.
    """
    from ..settings import read

    # TUNEONCE says whether a process takes part, not where; a word it does not know is `env`'s.
    settings = {name: text for name, text in os.environ.items() if name != "TUNEONCE"}
    if getattr(args, "events", None) is not None:
        settings["TUNEONCE_EVENTS"] = str(args.events.absolute())
    try:
        return read({**settings, "TUNEONCE_STORE": store_address(args)}).events
    except SettingsError as error:
        raise UsageError(str(error)) from error


def required_events_directory(args: argparse.Namespace) -> Path:
    """As `events_directory`. Raises UsageError if there is none."""
    directory = events_directory(args)
    if directory is None:
        raise UsageError("no events are written (TUNEONCE_EVENTS=0); name where: --events DIR")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is not a directory of events files")
    return directory


def positive(text: str) -> int:
    """An option's value, one or more."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def unknown_kernel(kernel: str, *, where: str, known: Iterable[str]) -> UsageError:
    """For a kernel that is not there: says so and names those that may have been meant."""
    from ..folders import near_names

    names = list(known)
    near = near_names(kernel, names)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        hint = "`tuneonce ls` lists what is there"
    else:
        hint = "it is empty"
    return UsageError(f"no kernel {kernel!r} in {where}: {hint}")
