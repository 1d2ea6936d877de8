"""Asking before something is removed."""

from __future__ import annotations

import argparse
import sys


def add_yes_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--yes``, which answers."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def may_ask() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def asks() -> bool:
    """Whether the answer is yes."""
    try:
        return input("Remove these? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
