"""How a program that was forked ends."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn


def end_program() -> NoReturn:
    """End this process with what a program ends with: its threads, its exit functions, its output.

    Taking apart what the parent had imported would take longer than many a program.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
