"""The file in which Triton itself keeps a key's results (``*.autotune.json``).

Where a program has Triton keep results, it is written when we tune, too: a process without us, or
one that is left with nothing but Triton's cache, then finds what stock would have left. It also
says for which world it was measured, which stock does not ask: H100, H200 and H20 share a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kernel.call import view_of
from ..kernel.identity import innermost
from ..kernel.session import Session
from ..seams import autotuners, knobs, probing, result_files, run_hooks
from ..seams.seam import Feature

# What we add to the file. Triton reads the timings alone.
_OURS = "tuneonce"


def take_over(session: Session) -> Mapping[Any, Any] | None:
    """The timings of Triton's file, found and read by Triton's own code; None if there is none.

    None, too, if it was written by us for another world, and whatever Triton raises.
    """
    view, world = view_of(session.autotuner, session.nargs), session.world
    stock_key, configs = session.stock_key, session.candidates
    try:
        if not _may_be_digested(view):
            return None
        file = result_files.place(view, innermost(view.fn), stock_key, configs)
        if file is not None and world is not None and _world_of(file) not in (None, world):
            return None
        return result_files.read(view, stock_key, configs)
    except Exception:  # no file; or one that is corrupt, which stock would raise in the launch
        return None


def keep(session: Session) -> None:
    """Write Triton's file as Triton would, if it would and there is none.

    Stock takes the least time: candidates that tied with the winner at a lesser one are left out.
    What stock could not keep is not kept. Raises nothing.
    """
    view, timings = view_of(session.autotuner, session.nargs), session.timings
    try:
        if not autotuners.keeps_results(view) or not _may_be_digested(view):
            return
        kernel = innermost(view.fn)
        file = result_files.place(view, kernel, session.stock_key, session.candidates)
        if file is not None and not file.exists():
            results = [
                (config, timing)
                for config, timing in timings.items()
                if config is session.winner or not timing < timings[session.winner]
            ]
            world = session.world
            extra = {} if world is None else {_OURS: {"world": world}}
            file.write(session.stock_key, results, **extra)
    except Exception:  # a key that JSON cannot hold, a full disk: as if stock had kept nothing
        return


def _may_be_digested(view: Any) -> bool:
    """Whether Triton's digest of the kernel is no other now than in a launch."""
    if probing.missing(Feature.STOCK_FILES):
        return False
    hooks = run_hooks.of_program(innermost(view.fn))  # interpreted kernels have none
    return not knobs.interpreting() and hooks is not None and not hooks


def _world_of(file: result_files.ResultFile) -> str | None:
    """The world for which a file was written here; None if it was not."""
    said = file.extra(_OURS)
    return None if said is None else str(said["world"])
