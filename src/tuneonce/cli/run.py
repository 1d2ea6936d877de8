"""``tuneonce run -- command``: the command, with tuneonce switched on in it and its children.

What it came to is said at its end by the command itself (`events.runs`, which says why).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence

from ..errors import SettingsError, UsageError
from ._common import check_fixed


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "run",
        help="run a command with tuneonce switched on",
        description="Runs COMMAND with TUNEONCE=1. TUNEONCE=0 or TRITON_CACHE_AUTOTUNING=0 in the "
        "environment keeps it off.",
    )
    parser.add_argument("--store", help="where results are kept: a directory or URL")
    parser.add_argument("--observe", action="store_true", help="count only, change nothing")
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="do not say at the end what was found, tuned and saved",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replace this process by the command."""
    from ..activation.install import child_environment
    from ..events.runs import VARIABLE, new_run
    from ..settings import Mode, read_mode, store_location
    from ..store import open_store

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise UsageError("run: no command; write: tuneonce run -- python server.py")
    program = shutil.which(command[0])
    if program is None:
        raise UsageError(f"run: {command[0]} is not a program that can be found")
    environment = {name: text for name, text in os.environ.items() if name != VARIABLE}
    try:  # what is wrong is told now, not in a server
        if args.store:
            wanted = {**environment, "TUNEONCE_STORE": args.store}
            environment["TUNEONCE_STORE"] = store_location(wanted)
        open_store(store_location(environment))
        mode = Mode.OBSERVE if args.observe else read_mode(environment)
        if mode is Mode.ON:
            check_fixed(environment)
    except SettingsError as error:
        raise UsageError(f"run: {error}") from error
    if mode is not Mode.OFF:
        word = "observe" if mode is Mode.OBSERVE else "1"
        environment = child_environment(environment, mode=word)
        if not args.quiet:
            environment[VARIABLE] = new_run()
        if reads_no_start_up_files(command):
            print(
                f"tuneonce: {command[0]} -S reads no start-up files and stays without tuneonce, "
                "unless the program calls tuneonce.install()",
                file=sys.stderr,
                flush=True,
            )
    os.execve(program, command, environment)


# Options of Python's that take the rest of their word, or the next one.
_WITH_ARGUMENT = "WX"
_LONG_WITH_ARGUMENT = "--check-hash-based-pycs"


def reads_no_start_up_files(command: Sequence[str]) -> bool:
    """Whether this is a Python with ``-S`` among its own options, not among the program's."""
    if not re.fullmatch(r"python(\d(\.\d+)?)?[tdw]*", os.path.basename(command[0])):  # noqa: PTH119
        return False
    words = iter(command[1:])
    for word in words:
        if word == _LONG_WITH_ARGUMENT:
            next(words, None)
        elif word.startswith("--") and word != "--":
            continue
        elif len(word) < 2 or word[0] != "-" or word == "--":
            return False  # the program, or none
        else:
            for place, letter in enumerate(word[1:], start=2):
                if letter == "S":
                    return True
                if letter in "cm":
                    return False
                if letter in _WITH_ARGUMENT:
                    if place == len(word):
                        next(words, None)
                    break
    return False
