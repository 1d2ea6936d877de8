"""``triton.compiler.compile``: for which kernel its cache is asked, and where the answer goes."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .seam import Feature, Finding, Seam, as_read, follow

_MODULE = "triton.compiler.compiler"

_asking = threading.local()
_lending = threading.local()


@contextmanager
def asking_for(one: Any) -> Iterator[None]:
    """What this thread looks for inside is a binary of the kernel `one`."""
    before = getattr(_asking, "kernel", None)
    _asking.kernel = one
    try:
        yield
    finally:
        _asking.kernel = before


@contextmanager
def putting_nothing(*, on: bool) -> Iterator[None]:
    """What this thread looks for inside is found, and not put into Triton's cache, if that is `on`.

    A variant has read its files when it is made, so they may be gone afterwards.
    """
    if not on:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="tuneonce-") as place:
        _lending.place = place
        try:
            yield
        finally:
            _lending.place = None


def place_apart() -> Path | None:
    """Where to put what this thread looks for; None: into Triton's cache."""
    place = getattr(_lending, "place", None)
    return None if place is None else Path(place)


def kernel() -> Any:
    """The kernel whose binary is looked for: Triton's compiler says it to its cache by no argument.

    It is the source that `compile` was given, a few frames up; None where that is not to be seen.
    """
    if (said := getattr(_asking, "kernel", None)) is not None:
        return said
    compiler: Any = sys.modules.get(_MODULE)
    frame = sys._getframe(2)
    for _ in range(3):  # somebody may have wrapped our method
        if frame.f_code is compiler.compile.__code__:
            return getattr(frame.f_locals.get("src"), "fn", None)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


def _says_the_source() -> Finding:
    code = getattr(follow(_MODULE, "compile"), "__code__", None)
    return as_read(code is not None and "src" in code.co_varnames)


SEAMS = (
    Seam(
        "compile(src)",
        _MODULE,
        (Feature.BINARIES,),
        "which kernel a binary is looked for, so that it gets none of another kernel",
        _says_the_source,
        words=("compile", "src"),
    ),
)
