"""``tuneonce export``: write records of the store into one file."""

from __future__ import annotations

import argparse
import contextlib
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import UsageError
from ._common import (
    add_json_option,
    add_pattern,
    add_store_option,
    add_world_option,
    store_address,
    unknown_kernel,
)

if TYPE_CHECKING:
    from ..inspect.carrying import Exported


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "export",
        help="write records of the store into one file",
        description="Writes records into one file, a tar archive compressed by gzip, which "
        "`tuneonce import` takes into another store. The same records give the same file. Exit "
        "code 1 if a record could not be read: the file is written, and lacks it.",
    )
    parser.add_argument("file", metavar="FILE", help="the file; - is standard output")
    add_pattern(parser)
    add_world_option(parser)
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    from ..inspect.archive import BadArchive
    from ..inspect.carrying import export
    from ..inspect.record_reader import kernel_names
    from ._carrying import opened
    from ._render import progress

    if args.store is not None and not args.store.strip():
        raise UsageError("--store is empty")
    to_stdout = args.file == "-"
    if to_stdout and args.json:
        raise UsageError("export: both the file and --json would go to standard output")
    with (
        opened(store_address(args)) as store,
        _output(args.file) as file,
        progress("export", silent=args.json) as tell,
    ):
        location = store.describe().location
        try:
            did = export(store, file, pattern=args.pattern, world=args.world, tell=tell)
        except BadArchive as error:
            raise UsageError(f"export: {error}: name a kernel, or a --world") from error
        nothing = not did.records and not did.unusable
        if nothing and args.pattern is not None and (names := kernel_names(store)):
            raise unknown_kernel(args.pattern, where=location, known=names)
    if args.json:
        import msgspec

        from ._render import print_json

        about = {"schema": "tuneonce.export/1", "store": location, "file": args.file}
        print_json({**about, **msgspec.to_builtins(did)})
    else:
        _draw(did, location, args.file)
    return 1 if did.unusable else 0


@contextlib.contextmanager
def _output(name: str) -> Iterator[BinaryIO]:
    """Where the archive goes. A file is there when it is whole, in the place of an earlier one."""
    from ..bench.result import check_writable, replacing

    if name == "-":
        if sys.stdout.isatty():
            raise UsageError("export: an archive is nothing for a terminal: name a file")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if not name:
        raise UsageError("export: the file's name is empty")
    # Behind a link its target is written, and the link stays.
    path = Path(name).resolve()
    check_writable(path)
    _check_is_earlier(path)
    with replacing(path) as file:
        yield file


def _check_is_earlier(path: Path) -> None:
    """Raises UsageError for a file that is there and is no archive of ours: it is left."""
    from ..inspect.archive import is_archive

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"cannot write {path}: it is not a regular file")
        with path.open("rb") as file:
            if is_archive(file):
                return
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot write {path}: it exists and {error.strerror}") from error
    raise UsageError(
        f"{path} exists and is no archive of this command: it is left as it is; name another file"
    )


def _draw(did: Exported, location: str, name: str) -> None:
    from ._render import console, count, plain

    out = console(stderr=name == "-")
    for problem in did.problems:
        out.print(f"problem: {plain(problem)}", style="red", soft_wrap=True)
    words = f"{count(did.records, 'record')} of {count(did.kernels, 'kernel')}"
    left = f", {did.unusable} not written" if did.unusable else ""
    place = "standard output" if name == "-" else plain(name)
    out.print(
        f"export of {plain(location)} to {place}: {words}{left}, digest {did.sha256[:12]}",
        soft_wrap=True,
    )
