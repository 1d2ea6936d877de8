"""What the commands that look at a store have in common: its options, and finding both places."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError, StoreError, StoreUnavailable, UsageError
from ._numbers import positive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..model.frozen import FrozenSet
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
        help="the events files (default: TUNEONCE_EVENTS, else this store's in your caches)",
    )


def add_last_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--last`` and ``--since``."""
    parser.add_argument(
        "--last",
        type=process_count,
        metavar="N",
        help="how many processes to look at (default: 10, or all with --since)",
    )
    parser.add_argument(
        "--since",
        type=moment,
        metavar="WHEN",
        help="only those that told anything since then: 30min, 2h, 3d or 2026-03-01T12:00",
    )


def last_of(args: argparse.Namespace) -> int | None:
    """How many processes the options of `add_last_options` mean; None: all."""
    chosen: int | None = args.last
    return 10 if chosen is None and args.since is None else chosen


def add_pattern(parser: argparse.ArgumentParser) -> None:
    """Add the kernels that a command is about."""
    parser.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="a kernel's name, module:name, or a glob on either",
    )


def add_probe_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--no-probe``."""
    parser.add_argument("--no-probe", action="store_true", help="do not import Triton at all")


def add_world_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--world``, which selects records of some worlds."""
    parser.add_argument(
        "--world",
        metavar="GLOB",
        help="only of this product, architecture (cuda:90) or compiler, as `tuneonce ls` has them",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")


def store_address(args: argparse.Namespace) -> str:
    """The store that the command line means, else the one of the environment."""
    from ..settings import store_to_look_at

    chosen = {} if args.store is None else {"TUNEONCE_STORE": args.store}
    return store_to_look_at({**os.environ, **chosen})


def open_store_of(
    args: argparse.Namespace,
    *,
    must_be_there: bool = True,
    journals: bool = True,
    with_base: bool = True,
) -> Store:
    """Open it, for a command that reads it, over the base of the environment if there is one.

    With what `journals` hold as if it were in it.

    ``--store`` names one store, which is looked at without a base. Raises UsageError for an address
    that cannot mean a store, or one that only its own process can read, StoreUnavailable for a
    store that is not there or may not be read: an empty list would say that nothing was kept.
    """
    from ..store import open_store

    if args.store is not None and not args.store.strip():
        raise UsageError("--store is empty")
    try:
        address = store_address(args)
        store = open_store(address)
        base = base_of(address) if with_base and args.store is None else None
    except SettingsError as error:
        raise UsageError(str(error)) from error
    if must_be_there and base is None:
        check_is_there(store)
    store = _with_journals(store, address) if journals else store
    return store if base is None else over_base(store, base)


def over_base(store: Store, base: Store) -> Store:
    """A store with its base."""
    from ..store.layered import LayeredStore

    return LayeredStore(store, base, base=base.describe().location)


def base_text(base: str) -> str:
    """The end of a sentence that names a store: what lies under it."""
    from ._render import plain

    return f" over the base {plain(base)}" if base else ""


def base_of(address: str) -> Store | None:
    """What lies under a store for a program that is started here; None if nothing does.

    One that cannot be used is told of on standard error. Raises SettingsError.
    """
    from ..settings import base_directory
    from ..store import open_base

    directory = base_directory(os.environ, address)
    if directory is None:
        return None
    try:
        return open_base(directory)
    except StoreUnavailable as error:
        print(f"tuneonce: the base is left out: {error}", file=sys.stderr)
        return None


def _with_journals(store: Store, address: str) -> Store:
    """A store and what tunings that were cut off, or go on, have measured beside it."""
    from ..inspect.journaled import JournalStore
    from ..resolution.journal import Journals
    from ..store.layered import LayeredStore

    if store.describe().kind != "files":
        return store
    places = journal_directories(store, address)
    return LayeredStore(store, JournalStore(Journals(lambda: places)))


def journal_directories(store: Store, address: str) -> list[Path]:
    """Where journals of a store of files may be: in it, and near where it is far away."""
    from ..resolution.journal import FOLDER
    from ..settings import journals_near

    near = journals_near(os.environ, address)
    return [Path(store.describe().location, FOLDER), *([] if near is None else [near])]


def check_is_there(store: Store) -> None:
    """Raises as `open_store_of`, for a store that is open already."""
    info = store.describe()
    if info.kind == "memory":
        raise UsageError("memory: is a store of one process, which no command can look into")
    if info.kind != "files":  # what it is asked first says it
        return
    try:
        _look_into(info.location)
    except FileNotFoundError:
        raise StoreUnavailable(
            f"there is no store at {info.location}: nothing was kept there yet, or it is another "
            "one (`tuneonce env` tells which is used here; --store and TUNEONCE_STORE choose)",
            store=info.url,
        ) from None
    except PermissionError as error:
        raise StoreUnavailable(
            f"the store at {info.location} cannot be read by user {os.geteuid()}: "
            f"{error.strerror}. Results in it are not used, and every start tunes again",
            store=info.url,
        ) from error
    except OSError:  # in the store's own words
        store.children("", limit=1)


def why_unreadable(store: Store) -> str | None:
    """Why this process may not read what is in a store; None if it may, or nothing is there."""
    from ..model.record_names import ROOT

    info = store.describe()
    try:
        if info.kind == "files":
            _look_into(info.location)
        store.children(ROOT, limit=1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read by user {os.geteuid()}: {error.strerror}"
    except StoreError as error:
        return str(error)
    return None


def _look_into(directory: str | Path) -> None:
    """Raises OSError for a directory that is not there, or may not be listed or entered."""
    with os.scandir(directory):
        os.stat(os.path.join(directory, os.curdir))  # noqa: PTH116, PTH118 - Path drops the dot


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


def binaries_directories(args: argparse.Namespace, store: Store) -> list[Path]:
    """Where processes that use the store may keep compiled binaries: this user's directories."""
    from pathlib import Path

    from ..settings import binaries_folder, binaries_near

    info = store.describe()
    beside = [Path(info.location, binaries_folder())] if info.kind == "files" else []
    near = binaries_near(os.environ, store_address(args))
    return beside if near is None else [*beside, near]


def required_events_directory(args: argparse.Namespace) -> Path:
    """As `events_directory`, and it can be read.

    Raises UsageError if no events are written, StoreUnavailable for a directory that is not there
    or may not be read. Beside a store that is there it may be missing: no process has written yet.
    """
    directory = events_directory(args)
    if directory is None:
        raise UsageError("no events are written (TUNEONCE_EVENTS=0); name where: --events DIR")
    is_told = getattr(args, "events", None) is not None or bool(
        os.environ.get("TUNEONCE_EVENTS", "").strip()
    )
    try:
        _look_into(directory)
    except FileNotFoundError:
        if is_told:
            raise StoreUnavailable(
                f"there is no directory of events files at {directory}"
            ) from None
        open_store_of(args).close()
    except OSError as error:
        raise StoreUnavailable(
            f"the events in {directory} cannot be read by user {os.geteuid()}: {error.strerror}"
        ) from error
    return directory


def process_count(text: str) -> int:
    """An option's value, one or more."""
    try:
        return positive(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on") from None


_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def moment(text: str) -> float:
    """An option's value, so long ago (``2h``) or a time in ISO 8601; in seconds since 1970."""
    now = time.time()
    ago = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|min|h|d|w)", text.strip())
    if ago is not None:
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        # Python 3.10 does not know the Z.
        at = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text.strip())).timestamp()
    except (ValueError, OverflowError, OSError):
        known = "a time as 30min, 2h, 3d or 2026-03-01T12:00"
        raise argparse.ArgumentTypeError(f"{text!r} is not {known}") from None
    if at > now:
        raise argparse.ArgumentTypeError(f"{text!r} has not come yet")
    return at


def unknown_kernel(kernel: str, *, where: str, known: Iterable[str]) -> UsageError:
    """For a kernel that is not there: says so and names those that may have been meant."""
    from ..inspect.record_reader import near_names

    names = list(known)
    near = near_names(kernel, names)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        hint = "`tuneonce ls` lists what is there"
    else:
        hint = "it is empty"
    return UsageError(f"no kernel {kernel!r} in {where}: {hint}")


def check_fixed(environ: Mapping[str, str]) -> None:
    """Raises SettingsError for policies, a base and a file of frozen winners that would leave a
    program without tuneonce."""
    from ..policies import read_policies
    from ..settings import base_directory, frozen_file, store_location

    read_policies(environ)
    base_directory(environ, store_location(environ))
    if (file := frozen_file(environ)) is not None:
        from ..resolution.frozen_file import read_frozen

        read_frozen(file)


def frozen_of(file: str) -> FrozenSet:
    """The frozen set of winners in a file. Raises UsageError for one that cannot be used."""
    from ..resolution.frozen_file import read_frozen

    try:
        return read_frozen(Path(file))
    except SettingsError as error:
        raise UsageError(str(error)) from error
