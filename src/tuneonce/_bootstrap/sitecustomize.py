"""Activates tuneonce in a child of ``tuneonce run``, then runs the sitecustomize it stands before.

Not part of the package: Python imports it by name because its directory is on PYTHONPATH.
"""

import importlib.machinery
import importlib.util
import os
import sys


def _run_the_next_one(here: str) -> None:
    paths = [p for p in sys.path if os.path.realpath(p or os.curdir) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", paths)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if os.environ.get("TUNEONCE", "0") not in ("", "0"):
    try:
        import tuneonce._autoload  # noqa: F401
    except ImportError as _error:
        print(
            f"tuneonce: not activated ({_error}): install it for {sys.executable}", file=sys.stderr
        )

_run_the_next_one(os.path.dirname(os.path.realpath(__file__)))
