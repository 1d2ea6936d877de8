"""``tuneonce import``: take the records of a file into the store."""

# ruff: noqa: N999 - each command is the file of its name, and is imported by that
from __future__ import annotations

import argparse
import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import TuneonceError, UsageError
from ._common import add_json_option, add_store_option, store_address


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "import",
        help="take the records of such a file into the store",
        description="Takes the records of a file that `tuneonce export` has written into the "
        "store. Of several verdicts about one key the one with more measurements stays. Exit code "
        "1 if the file is damaged: what came before the damage is in the store.",
    )
    parser.add_argument("file", metavar="FILE", help="the file; - is standard input")
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing, and say what would be written"
    )
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the file."""
    from ..inspect.carrying import take_in
    from ._carrying import draw_landed, opened
    from ._render import console, plain, print_json, progress

    if args.store is not None and not args.store.strip():
        raise UsageError("--store is empty")
    source = "standard input" if args.file == "-" else args.file
    with (
        opened(store_address(args), must_be_there=False) as store,
        _input(args.file) as file,
        progress("import", silent=args.json) as tell,
    ):
        location = store.describe().location
        done = take_in(store, file, source, dry_run=args.dry_run, tell=tell)
    if args.json:
        import msgspec

        about = {"schema": "tuneonce.import/1", "store": location, "file": args.file}
        did = msgspec.to_builtins(done.landed)
        print_json({**about, "dry_run": args.dry_run, "broken": done.broken, **did})
    else:
        what = f"import of {source} into {location}"
        draw_landed(console(), what, done.landed, dry_run=args.dry_run)
    if done.broken is not None:
        what = f"{source} cannot be used to its end: {done.broken}; what came before it counts"
        raise TuneonceError(plain(what))
    return 0


@contextlib.contextmanager
def _input(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("import: nothing is written to standard input: name a file")
        yield sys.stdin.buffer
        return

    def at_once(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_NONBLOCK)  # and not when somebody writes into a pipe

    try:
        file = open(name, "rb", opener=at_once)  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:  # a NUL in its name is the second
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {name!r}: {why}") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"cannot read {name}: it is not a regular file")
        yield file
