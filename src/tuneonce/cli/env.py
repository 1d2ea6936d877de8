"""``tuneonce env``: what is on and why, which store, which Triton and which of its seams."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._common import add_json_option, add_probe_option, add_store_option

if TYPE_CHECKING:
    from ._environment import Environment, Replay, StorePlace


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "env",
        help="what is on, which store, which Triton",
        description="Tells what a Python process started in this environment would do. Triton is "
        "imported in a child process only.",
    )
    add_probe_option(parser)
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Describe the environment."""
    import os

    from ._environment import describe_environment
    from ._render import give

    found = describe_environment(os.environ, store=args.store, probe=not args.no_probe)
    give(found, _draw, as_json=args.json)
    return 0


def _draw(found: Environment) -> None:
    from ._environment import seams_text, winners_text
    from ._remote import remote_text
    from ._render import console, plain, table

    out = console()
    grid = table(show_header=False)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    versions = [f"{name} {version or 'not installed'}" for name, version in found.versions.items()]
    rows = [
        ("tuneonce", f"{found.tuneonce}, Python {found.python} ({found.executable})"),
        ("mode", f"{found.mode} ({found.why})"),
        ("startup file", found.startup or "not installed: TUNEONCE=1 alone does nothing here"),
        ("store", _store_text(found.store)),
        ("events", found.events or "none are written (TUNEONCE_EVENTS=0)"),
        ("profile", _profile_text(found.replay)),
        ("binaries", _binaries_text(found.replay)),
        ("Triton's cache", found.triton_cache),
        ("errors", "raised (TUNEONCE_RAISE)" if found.raise_errors else "logged, never raised"),
        ("versions", ", ".join(versions)),
        ("seams", seams_text(found.seams)),
    ]
    if found.remote is not None:
        rows.insert(4, ("remote", remote_text(found.remote)))
    if (winners := winners_text(found)) is not None:
        rows.insert(4, ("winners", winners))
    if found.base is not None:
        rows.insert(4, ("base", found.base.error or f"{found.base.directory}: read, never written"))
    rows += [("setting", text) for text in found.complaints]
    for name, text in rows:
        grid.add_row(name, plain(text))
    out.print(grid)


def _profile_text(replay: Replay) -> str:
    if not replay.recorded:
        return "nothing is recorded for the next start (TUNEONCE_PROFILE=0)"
    return replay.profile or "named after the program and its arguments"


def _binaries_text(replay: Replay) -> str:
    if replay.limit_mb <= 0:
        return "none are kept (TUNEONCE_BINARIES_MB=0)"
    if replay.binaries is None:
        return f"none yet; at most {replay.limit_mb} MB"
    return f"{replay.megabytes:g} of at most {replay.limit_mb} MB in {replay.binaries}"


def _store_text(store: StorePlace) -> str:
    if store.error is not None:
        return f"{store.error} (from {store.why})"
    note = f"; {store.note}" if store.note else ""
    writable = "writable" if store.writable else "not writable"
    if not store.readable:
        writable = f"not readable, {writable}"
    return f"{store.url} (from {store.why}): {store.kind}, {writable}{note}"
