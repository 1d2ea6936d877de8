"""Where a command's document goes: ``--json`` prints it, ``--output FILE`` writes it.

A file is only replaced by a newer document of the same command: a word in the wrong place does not
overwrite a program's source or another benchmark's result.
"""

from __future__ import annotations

import argparse
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TuneonceError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

# Every document begins with its schema; more of the file is not read.
_SCHEMA = re.compile(rb'\s*\{\s*"schema"\s*:\s*"(tuneonce\.[a-z-]+)/\d+"')
_HEAD_BYTES = 256


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--output``."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document on standard output; everything else goes to standard error",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write the JSON document there, before any table is drawn; a file that is no earlier "
        "document of this command is never overwritten",
    )


@dataclass(frozen=True)
class Output:
    """What the options of one command line ask for. `schema` is that of its document."""

    json: bool
    path: Path | None
    schema: str

    def save(self, document: bytes) -> None:
        """Write the file, if one was asked for. Raises TuneonceError if it cannot be written."""
        from ..bench.result import write_whole

        if self.path is None:
            return
        try:
            # Looked at again: the command may have run for hours.
            _check(self.path, self.schema)
            write_whole(self.path, document)
        except OSError as error:
            raise TuneonceError(f"cannot write {self.path}: {error.strerror}") from error
        except UsageError as error:
            raise TuneonceError(str(error)) from error

    def print(self, document: bytes) -> None:
        """Print the document, if that was asked for."""
        if self.json:
            sys.stdout.write(document.decode())
            sys.stdout.flush()

    def tables(self) -> Console:
        """Where tables go: standard output may belong to the document."""
        from ._render import console

        return console(stderr=self.json)


def output_of(args: argparse.Namespace, schema: str) -> Output:
    """What `args` ask for. Raises UsageError for a file that may not or cannot be written.

    To be called before anything runs. `schema` is the document's, with its version.
    """
    if args.output is None:
        return Output(args.json, None, schema)
    if args.output in ("", "-"):
        raise UsageError("--output names a file; --json prints the document on standard output")
    # Behind a link its target is written, and the link stays.
    path = Path(args.output).resolve()
    _check(path, schema)
    return Output(args.json, path, schema)


def _check(path: Path, schema: str) -> None:
    from ..bench.result import check_writable

    check_writable(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UsageError(f"cannot write {path}: it is not a regular file")
        with path.open("rb") as file:
            found = _SCHEMA.match(file.read(_HEAD_BYTES))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot write {path}: it exists and {error.strerror}") from error
    kind = schema.partition("/")[0]
    if found is None or found[1].decode() != kind:
        raise UsageError(
            f"{path} exists and is no earlier document of this command ({kind}): it is left as it "
            "is; name another file"
        )
