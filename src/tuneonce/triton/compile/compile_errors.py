"""Whether it was the compiler that could not take a candidate.

Stock Triton passes over three kinds of errors while it tunes, and ends with what else its compiler
raises for one candidate, though others compile. Here such a candidate cannot run, like the others.
An error is the compiler's if it comes out of generating code, of a backend's stages or options.
What compiling needs (files, tools, memory, the program's cache or listener) says nothing about a
candidate.
"""

from __future__ import annotations

import contextlib
import subprocess
import traceback
from collections.abc import Iterator
from types import TracebackType

from ..seams import compat

# Warnings, where the program has turned them into errors.
_NEEDS = (OSError, MemoryError, ImportError, subprocess.SubprocessError, Warning)
_COMPILER = "triton.compiler.compiler"


def is_passed_over(error: Exception) -> bool:
    """Whether a candidate that raises this cannot run, as far as it is for the compiler to say."""
    return isinstance(error, compat.passed_over()) or is_compile_error(error)


@contextlib.contextmanager
def passing_over() -> Iterator[None]:
    """Suppresses such errors."""
    try:
        yield
    except Exception as error:
        if not is_passed_over(error):
            raise


def is_compile_error(error: BaseException) -> bool:
    """Whether Triton's compiler has raised it over what it was given."""
    if not isinstance(error, Exception) or isinstance(error, _NEEDS):
        return False
    frames = list(_frames(error.__traceback__))
    found = any(map(_compiles, frames)) or _is_unknown_option(error, frames[-1:])
    # Where tools are looked for.
    return found and frames[-1][0] != "triton.knobs"


def _is_unknown_option(error: Exception, last: list[tuple[str, str]]) -> bool:
    if not isinstance(error, KeyError):
        return False
    return last in ([("triton.runtime.jit", "_pack_args")], [("triton.runtime.jit", "run")])


def _compiles(frame: tuple[str, str]) -> bool:
    module = frame[0]
    if module.startswith("triton.backends."):
        return module.endswith(".compiler")
    return frame == (_COMPILER, "make_ir")


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, str]]:
    for frame, _ in traceback.walk_tb(trace):
        yield str(frame.f_globals.get("__name__", "")), frame.f_code.co_name
