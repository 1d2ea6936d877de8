"""The command line: each command is one module that parses, calls and renders.

A command's module is imported when its command is asked for; ``--help`` and ``--version`` import
none of what the commands work with.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from typing import Any, NoReturn

from .._version import __version__
from ..errors import TuneonceError, UsageError

# In the order of `tuneonce --help`.
COMMANDS = {
    "run": "run a command with tuneonce switched on",
    "tune": "run a program only to fill the store, and show what was tuned",
    "bits": "which candidates of a program's kernels write the same bits, and which are wrong",
    "demo": "what a restart costs, before and after, on a small server; or just the server",
    "bench": "what a restart of a server costs; how good the stored winners are",
    "ls": "what is in the store",
    "show": "every measurement behind a kernel's verdicts",
    "why": "why a kernel was tuned again: the nearest record and what differs",
    "stats": "what the last processes found, tuned and saved",
    "verify": "read every record and report those that are not whole",
    "freeze": "write the winners of a store as one document",
    "rm": "remove a kernel's records",
    "gc": "remove what was not used for long, and keep the store small",
    "push": "give what the store has to what several machines share",
    "pull": "take what other machines have shared into the store",
    "merge": "put what several stores have into one",
    "diff": "where two stores, or two worlds, have different winners, and what that costs",
    "export": "write records of the store into one file",
    "import": "take the records of such a file into the store",
    "env": "what is on, which store, which Triton",
    "doctor": "is it on here, and does everything that it needs work",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code: 2 for wrong input, 1 for a failure."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        parser = _parser(arguments)
        args = parser.parse_args(arguments)
        if not hasattr(args, "run"):
            parser.print_help()
            return 2
        code: int = args.run(args)
        # Here, where it can be told, and not while Python ends.
        if sys.stdout is not None:
            sys.stdout.flush()
    except UsageError as error:
        return _failed(2, error)
    except TuneonceError as error:
        return _failed(1, error)
    except KeyboardInterrupt:
        return _failed(130)
    except BrokenPipeError:
        return _failed(141)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return _failed(1, f"{where}{error.strerror or error}")
    return code


def _failed(code: int, message: object = None) -> int:
    """Say it in one line. What cannot be printed any more is dropped: it would fail again."""
    with contextlib.suppress(OSError):
        if message is not None and sys.stderr is not None:
            print(f"tuneonce: {message}", file=sys.stderr, flush=True)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # a stream without a descriptor raises one, too
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is one ``--help`` away.

    Also the class of the commands' parsers. Options are not abbreviated: a script that says
    ``--out`` would end when another option of that beginning is added.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="tuneonce", description="Tune Triton kernels once.")
    parser.add_argument("--version", action="version", version=f"tuneonce {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    asked = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == asked:
            importlib.import_module(f".{name}", __package__).add_parser(commands)
        else:
            commands.add_parser(name, help=summary)
    return parser
