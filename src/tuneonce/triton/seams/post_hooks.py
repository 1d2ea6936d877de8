"""``Autotuner.post_hook``: what ``_bench`` calls after each launch of a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import autotuners
from .seam import Feature, Seam


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


SEAMS = (
    Seam(
        "Autotuner.post_hook",
        autotuners.MODULE,
        (Feature.NUMERICS,),
        "is called after each launch of a candidate, and may restore what that wrote",
        autotuners.set_by_init("post_hook"),
        names=("post_hook",),
    ),
)
