"""Slots of ``triton.knobs`` for listeners, each of which holds one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from .seam import Feature, Seam, is_there

_KNOBS = "triton.knobs"


def of_compiler() -> Any:
    """The listener of compilations; None if there is none."""
    return getattr(_slot(), "listener", None)


def set_of_compiler(listener: Any) -> bool:
    """Have `listener` hear of compilations. False: this Triton has no such slot."""
    slot = _slot()
    if slot is None:
        return False
    slot.listener = listener
    return True


def _slot() -> Any:
    return getattr(sys.modules.get(_KNOBS), "compilation", None)


class CompilerCall(NamedTuple):
    """What the compiler says: `loaded` from its cache or compiled, of which kernel, how long.

    `binary` is the name that the binary has in the cache.
    """

    loaded: bool
    kernel: str
    seconds: float
    binary: str


def read_call(call: Mapping[str, Any]) -> CompilerCall:
    """Read a call of a listener. Raises what one of another version makes it raise."""
    seconds = call["times"].total / 1e6
    kernel = getattr(call.get("src"), "name", None) or call["metadata"].get("name", "?")
    binary = str(call["metadata"].get("hash", ""))
    return CompilerCall(bool(call["cache_hit"]), str(kernel), seconds, binary)


def of_autotuner() -> Any:
    """The listener of tunings; None if there is none, as before 3.8."""
    knobs = sys.modules.get(_KNOBS)
    return getattr(getattr(knobs, "autotuning", None), "listener", None)


def tell_of_tuning(
    listener: Any,
    kernel: Any,
    stock_key: tuple[Any, ...],
    winner: Any,
    timings: Mapping[Any, Any],
    duration: float | None,
) -> None:
    """Call that one as `run` does; `duration` is None if nothing was measured."""
    listener(
        fn=kernel,
        key=stock_key,
        best_config=winner,
        configs_timings=timings,
        duration=duration,
        cache_hit=duration is None,
    )


SEAMS = (
    Seam(
        "knobs.compilation.listener",
        _KNOBS,
        (Feature.COMPILE_TIMES,),
        "tells compiling from loading, and how long it took",
        is_there(_KNOBS, "compilation.listener"),
        words=("listener", "times", "cache_hit"),
    ),
    Seam(
        "knobs.autotuning.listener",
        _KNOBS,
        (Feature.HOOK,),
        "the program's own, which hears of what we find, too",
        is_there(_KNOBS, "autotuning.listener"),
        read_in=("3.8", "3.9"),
    ),
)
