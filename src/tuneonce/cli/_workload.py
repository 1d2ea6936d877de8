"""Runs a Python program for what it does to the store, and reads what its processes told."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError, UsageError
from ._common import base_of, check_fixed, check_is_there
from ._output import add_output_options

if TYPE_CHECKING:
    from rich.console import Console

    from ..events.history import Events
    from ._output import Output


@dataclass(frozen=True)
class Ran:
    """How the program ended, and the events of all its processes.

    `store` is the store's address for people, without the credentials that `address` may have.
    """

    command: list[str]
    status: int
    store: str
    address: str
    seconds: float
    history: list[Events]


def add_workload_arguments(
    parser: argparse.ArgumentParser, *, store: str = "where results are kept: a directory or URL"
) -> None:
    """Add ``SCRIPT`` and ``-m MODULE``, ``--json`` and ``--output``, and `store`'s ``--store``."""
    parser.add_argument("--store", metavar="URL", help=store)
    add_output_options(parser)
    # Whatever comes after the module or the script is the program's, options too.
    parser.add_argument(
        "-m",
        dest="module",
        nargs=argparse.REMAINDER,
        metavar="MODULE",
        help="run a module, as python -m does; what follows are its arguments",
    )
    parser.add_argument(
        "script", nargs=argparse.REMAINDER, metavar="SCRIPT", help="a program and its arguments"
    )


def run_workload(
    args: argparse.Namespace,
    *,
    variables: Mapping[str, str],
    reads: bool,
    writes: bool,
    store: str | None = None,
) -> Ran:
    """Run the program to its end with tuneonce on, `variables` set and events of its own.

    It uses `store`, else the one that ``--store`` or the environment names.

    Raises UsageError where it cannot be started, or is run for what it `writes` to the store and
    nothing would be kept; StoreUnavailable if it `reads` a store that is not there. Ctrl-C and
    SIGTERM are the program's: whatever it makes of them, what it did until then is told.
    """
    from ..activation.install import child_environment
    from ..events.history import read_history

    command = _command(args)
    environment = {**os.environ, **variables}
    chosen = args.store if store is None else store
    shown = _store(environment, chosen, reads=reads, writes=writes)
    address = environment["TUNEONCE_STORE"]
    # The program may write what it likes, but standard output is for the document.
    stdout = 2 if args.json else None
    directory = tempfile.mkdtemp(prefix="tuneonce-events-")
    try:
        environment = child_environment({**environment, "TUNEONCE_EVENTS": directory})
        began = time.monotonic()
        with _signals_are_the_programs() as started:
            child = subprocess.Popen([sys.executable, *command], env=environment, stdout=stdout)
            started.append(child)
            status = child.wait()
        seconds = time.monotonic() - began
        history = read_history(Path(directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if status < 0:
        status = 128 - status
    return Ran(command, status, shown, address, seconds, history)


def _command(args: argparse.Namespace) -> list[str]:
    rest: list[str] = args.script
    if args.module is not None:
        words = [*args.module, *rest]  # argparse stops at a lone -- and goes on behind it
        if not words:
            raise UsageError("-m: which module?")
        return ["-m", *words]
    if rest[:1] == ["--"]:
        rest = rest[1:]
    if not rest:
        raise UsageError("no program to run: name a script, or -m and a module")
    if not Path(rest[0]).exists():
        raise UsageError(f"{rest[0]} does not exist: name a Python script, or -m and a module")
    return rest


def _store(environment: dict[str, str], chosen: str | None, *, reads: bool, writes: bool) -> str:
    """The store's address, put into the environment. Raises as `run_workload`."""
    from ..settings import Mode, read, store_location
    from ..store import open_store

    if chosen is not None:
        if not chosen.strip():
            raise UsageError("--store is empty")
        environment["TUNEONCE_STORE"] = chosen
    try:  # what is wrong is told now, not by the program
        environment["TUNEONCE_STORE"] = store_location(environment)
        settings = read(environment)
        check_fixed(environment)
        store = open_store(environment["TUNEONCE_STORE"])
    except SettingsError as error:
        raise UsageError(str(error)) from error
    if settings.mode is not Mode.ON:
        name = "TUNEONCE" if environment.get("TUNEONCE", "").strip() else "TRITON_CACHE_AUTOTUNING"
        raise UsageError(f"{name}={environment[name]} keeps tuneonce off: nothing would be kept")
    if settings.policies.deterministic:
        word = environment["TUNEONCE_DETERMINISTIC"]
        raise UsageError(f"TUNEONCE_DETERMINISTIC={word}: nothing would be measured")
    with store:
        info = store.describe()
        if reads and base_of(environment["TUNEONCE_STORE"]) is None:
            check_is_there(store)
        if writes and (info.kind == "memory" or not info.writable):
            why = info.note or "it is only read"
            raise UsageError(f"nothing would be kept in {info.url}: {why}")
    return info.url


@contextmanager
def _signals_are_the_programs() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Outlive Ctrl-C, which a terminal sends to the program too, and pass SIGTERM on to it."""
    started: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in started:
            child.send_signal(number)

    def outlive(number: int, frame: FrameType | None) -> None:
        """The program has it already."""

    before: dict[int, Any] = {}
    try:
        # Handlers, not SIG_IGN, which the program would inherit.
        before[signal.SIGINT] = signal.signal(signal.SIGINT, outlive)
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, pass_on)
    except ValueError:  # only the main thread gets signals
        pass
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_document(document: object, out: Output) -> Console:
    """Write and print the document as `out` says; returns where tables go."""
    import json

    import msgspec

    data = (json.dumps(msgspec.to_builtins(document), indent=2) + "\n").encode("ascii")
    out.save(data)
    out.print(data)
    return out.tables()
