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

from ..seams import errors

# Warnings, where the program has turned them into errors.
_NEEDS = (OSError, MemoryError, ImportError, subprocess.SubprocessError, Warning)


def is_passed_over(error: Exception) -> bool:
    """Whether a candidate that raises this cannot run, as far as it is for the compiler to say."""
    return isinstance(error, errors.passed_over()) or is_compile_error(error)


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
    if not frames:
        return False
    is_unknown_option = isinstance(error, KeyError) and errors.is_in_options(frames[-1])
    found = any(map(errors.is_in_compiler, frames)) or is_unknown_option
    # Where tools are looked for.
    return found and not errors.is_in_knobs(frames[-1])


def _frames(trace: TracebackType | None) -> Iterator[errors.Frame]:
    for frame, _ in traceback.walk_tb(trace):
        yield str(frame.f_globals.get("__name__", "")), frame.f_code.co_name
