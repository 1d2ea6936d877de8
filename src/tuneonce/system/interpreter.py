"""Which Python another process can be started with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Programs that are called like this are Python, and start what they are told to.
_PYTHON = re.compile(r"(python|pypy)[0-9.]*[a-z]{0,2}(\.exe)?", re.IGNORECASE)


class NoInterpreter(Exception):
    """There is none, or what is named as one would start this program once more."""


def own_interpreter() -> str:
    """The path of this process's Python. Raises NoInterpreter.

    A frozen program and one that embeds Python may name themselves as the interpreter.
    """
    main = sys.modules.get("__main__")
    if getattr(sys, "frozen", False) or hasattr(sys, "oxidized") or hasattr(main, "__compiled__"):
        raise NoInterpreter("this program is frozen, and no Python that could be started")
    if not sys.executable:
        raise NoInterpreter("this interpreter does not know its own path")
    if _PYTHON.fullmatch(Path(sys.executable).name) is None:
        raise NoInterpreter(f"{sys.executable} is no Python")
    return sys.executable
