"""``Autotuner.post_hook``: what ``_bench`` calls after each launch of a candidate."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

from . import autotuners
from .seam import Feature, Finding, Seam, as_read, follow


@contextmanager
def before(autotuner: Any, look: Callable[[], None]) -> Iterator[None]:
    """Call `look` after each launch of a candidate, before what it wrote may be restored.

    Not after a launch that fails. The caller holds the autotuner's lock.
    """
    own, usual = vars(autotuner), getattr(autotuner, "post_hook", None)
    if usual is None:  # a class of a program's own, whose `_bench` calls none
        yield
        return
    kept = own.get("post_hook")

    def looking(*args: Any, **kwargs: Any) -> None:
        try:
            if kwargs.get("exception") is None:
                look()
        finally:
            usual(*args, **kwargs)

    own["post_hook"] = looking
    try:
        yield
    finally:
        if kept is None:
            own.pop("post_hook", None)
        else:
            own["post_hook"] = kept


def _is_called_after_launches() -> Finding:
    """Whether `_bench` names it in what it has measured, and says what a launch has raised."""
    there = autotuners.set_by_init("post_hook")()
    bench = inspect.getattr_static(follow(autotuners.MODULE, "Autotuner"), autotuners.BENCH)
    if there is not Finding.AS_READ or not autotuners.is_tritons(bench):
        return there  # a program's own `_bench` says nothing about Triton
    within = [code for code in bench.__code__.co_consts if isinstance(code, CodeType)]
    calling = [code for code in within if "post_hook" in code.co_names and "run" in code.co_names]
    return as_read(any(("exception",) in code.co_consts for code in calling))


SEAMS = (
    Seam(
        "Autotuner.post_hook",
        autotuners.MODULE,
        (Feature.NUMERICS,),
        "is called after each launch of a candidate, and may restore what that wrote",
        _is_called_after_launches,
        names=("post_hook",),
    ),
)
