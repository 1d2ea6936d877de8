"""``tuneonce bench``: what a restart costs (``restart``), the load alone (``serve``), ``show``.

``regret``, how good the stored winners are, is in a file of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from . import _bench_regret
from ._bench_options import (
    ARM_NAMES,
    Subparsers,
    add_load_arguments,
    add_restart_arguments,
    load_from,
    plan_options,
)
from ._numbers import port
from ._output import Output, add_output_options, output_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from ..bench.restart import Plan
    from ..bench.result import Restart, Serve

_RESTART = """\
Start SERVER COMMAND, wait until it is healthy, send a load, end it, and start it again: in every
arm, each with fresh cache directories of its own. {port} in the command becomes the port.

  tuneonce bench restart -- vllm serve MODEL --port {port}
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add ``bench`` and its subcommands."""
    bench = subparsers.add_parser(
        "bench", help="what a restart of a server costs; how good the stored winners are"
    )
    commands = bench.add_subparsers(dest="bench_command", metavar="COMMAND", required=True)

    restart = commands.add_parser(
        "restart",
        help="start a server twice in every arm and compare",
        description=_RESTART,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [options] -- SERVER COMMAND",
    )
    add_restart_arguments(restart)
    restart.add_argument("--host", default="127.0.0.1", help="where the server will listen")
    add_load_arguments(restart, input_len=1024, output_len=16, num_prompts=64, max_concurrency=8)
    restart.add_argument("server_command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    restart.set_defaults(run=run_restart_command)

    serve = commands.add_parser("serve", help="send the load to a server that runs already")
    serve.add_argument("--base-url", metavar="URL", help="of the server (or --host and --port)")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=port, default=8000, metavar="N", help="default: 8000")
    add_load_arguments(serve, input_len=1024, output_len=128, num_prompts=64, max_concurrency=None)
    add_output_options(serve)
    serve.set_defaults(run=run_serve_command)

    show = commands.add_parser("show", help="draw the tables of a saved result again")
    show.add_argument("file", type=Path, help="what --output wrote")
    show.add_argument("--json", action="store_true", help="print the document instead")
    show.set_defaults(run=run_show_command)

    _bench_regret.add_parser(commands)


def run_restart_command(args: argparse.Namespace) -> int:
    """``tuneonce bench restart``."""
    from ..bench.restart import Plan
    from ..bench.result import RESTART
    from ..settings import is_interpreted

    out = output_of(args, RESTART)
    require("the benchmark", ("psutil",), install="'tuneonce[bench]'")
    command, port_number = place_port(args.server_command, host=args.host, port=args.port)
    chosen, notes = choose_arms(args.arms, interpreted=is_interpreted(os.environ))
    given = plan_options(args)
    plan = Plan(
        arms=chosen, command=command, host=args.host, port=port_number, notes=notes, **given
    )
    return carry_out(plan, out=out)


def run_serve_command(args: argparse.Namespace) -> int:
    """``tuneonce bench serve``."""
    import datetime

    from .._version import __version__
    from ..bench.interrupts import Interrupted, Interrupts
    from ..bench.load import run_load
    from ..bench.machine import describe_machine
    from ..bench.result import SERVE, Serve, encode
    from ._bench_progress import Bar

    load = load_from(args)
    out = output_of(args, SERVE)
    progress = _progress_console()
    base_url = args.base_url or f"http://{args.host}:{args.port}"
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    try:
        with (
            Interrupts() as interrupts,
            Bar(progress, title="requests", total=load.num_prompts) as bar,
        ):
            result = run_load(base_url, load, interrupts=interrupts, on_outcome=bar.advance)
    except Interrupted as interrupted:
        progress.print(f"{interrupted}: stopped")
        return 128 + interrupted.signum
    document = Serve(
        created=created,
        tuneonce=__version__,
        command=_command_line(),
        base_url=base_url,
        machine=describe_machine(),
        load=load,
        result=result,
    )
    out.save(encode(document))
    return _report(document, out=out)


def run_show_command(args: argparse.Namespace) -> int:
    """``tuneonce bench show``."""
    from ..bench.result import encode, load_document
    from ._bench_view import draw
    from ._render import console

    document = load_document(args.file)
    if args.json:
        sys.stdout.write(encode(document).decode())
    else:
        draw(document, console())
    return 0


def require(what: str, packages: Iterable[str], *, install: str) -> None:
    """Raise `UsageError` if one of the packages is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{what} needs {', '.join(missing)}: pip install {install}")


def place_port(command: list[str], *, host: str, port: int) -> tuple[list[str], int]:
    """Return the command with its port in place, and the port. Raises `UsageError` if in doubt."""
    from ..bench.ports import free_port

    command = command[1:] if command[:1] == ["--"] else list(command)
    if not command:
        raise UsageError("no server command: tuneonce bench restart [options] -- SERVER COMMAND")
    if any("{port}" in word for word in command):
        port = port or free_port(host)
        return [word.replace("{port}", str(port)) for word in command], port
    if not port:
        raise UsageError(
            "which port will the server use? Write {port} where its command names it, or --port N"
        )
    for option, value in _option_values(command, "--port"):
        if value.isdigit() and int(value) != port:
            raise UsageError(f"the server command says {option} {value}, the benchmark {port}")
    return command, port


def choose_arms(
    wanted: tuple[str, ...] | None, *, interpreted: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arms to run and a note on each that was left out without being asked."""
    if wanted is not None:
        return wanted, ()
    if not interpreted:
        return ARM_NAMES, ()
    note = (
        "stock-cache is left out: under TRITON_INTERPRET=1 stock Triton cannot keep tuning "
        "results, and nothing is compiled."
    )
    return tuple(name for name in ARM_NAMES if name != "stock-cache"), (note,)


def carry_out(plan: Plan, *, out: Output) -> int:
    """Run the plan, write its document, draw its tables.

    Returns the exit code: 1 if any request failed, 128 + signal if interrupted.
    """
    from ..activation.install import child_environment
    from ..bench.interrupts import Interrupted, Interrupts
    from ..bench.restart import run_restart
    from ..bench.result import encode
    from ._bench_progress import RestartProgress

    progress = _progress_console()
    keeps = plan.keep or plan.work_dir is not None
    try:
        with Interrupts() as interrupts, RestartProgress(progress, keeps=keeps) as watcher:
            document = run_restart(
                plan,
                interrupts=interrupts,
                watcher=watcher,
                save=lambda document: out.save(encode(document)),
                activate=child_environment,
                argv=_command_line(),
            )
    except Interrupted as interrupted:
        progress.print(f"{interrupted}: stopped; the server and all its processes are ended")
        return 128 + interrupted.signum
    return _report(document, out=out)


def _command_line() -> list[str]:
    # As it is typed, whichever file it was that Python ran: results are published.
    return ["tuneonce", *sys.argv[1:]]


def _option_values(command: list[str], option: str) -> list[tuple[str, str]]:
    found = []
    for place, word in enumerate(command):
        if word == option and place + 1 < len(command):
            found.append((option, command[place + 1]))
        elif word.startswith(f"{option}="):
            found.append((option, word.removeprefix(f"{option}=")))
    return found


def _progress_console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _report(document: Restart | Serve, *, out: Output) -> int:
    from ..bench.result import Serve, encode
    from ._bench_view import draw

    out.print(encode(document))
    draw(document, out.tables())
    results = [document.result] if isinstance(document, Serve) else document.runs
    return 1 if any(result.failed for result in results) else 0
