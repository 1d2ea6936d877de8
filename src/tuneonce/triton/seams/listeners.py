"""Where Triton lets others listen: slots of ``triton.knobs`` for one, and chains for many."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from .seam import Feature, Seam, all_of, can_be_called, is_there

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


def hear_module_loads(before: Any, after: Any) -> bool:
    """Have Triton call these before and after it loads a module onto a device.

    They join the chains, whose other members are called as ever. False: this Triton has no chains
    (3.4), or the program has put something of its own in their place.
    """
    start, end = _chains()
    if start is None or end is None:
        return False
    start.add(before)
    end.add(after)
    return True


def forget_module_loads(before: Any, after: Any) -> None:
    """Take these out of the chains again."""
    for chain, listener in zip(_chains(), (before, after), strict=True):
        # One of the program's own may not know it.
        with contextlib.suppress(Exception):
            chain.remove(listener)


def _chains() -> tuple[Any, Any]:
    """Those of module loads; None for one that nobody can join."""
    runtime = getattr(sys.modules.get(_KNOBS), "runtime", None)
    start = getattr(runtime, "kernel_load_start_hook", None)
    end = getattr(runtime, "kernel_load_end_hook", None)
    return start if _can_be_joined(start) else None, end if _can_be_joined(end) else None


def _can_be_joined(chain: Any) -> bool:
    return callable(getattr(chain, "add", None)) and callable(getattr(chain, "remove", None))


def read_module_load(call: tuple[Any, ...]) -> tuple[str, Any]:
    """Whose module it is, and which: the kernel's name and the digest of its binary."""
    name, digest = (call[2], call[4]) if len(call) > 4 else ("?", None)
    return str(name), digest


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
        (Feature.COMPILE_TIMES, Feature.PROFILE),
        "tells compiling from loading, and how long it took",
        is_there(_KNOBS, "compilation.listener"),
        words=("listener", "times", "cache_hit"),
    ),
    Seam(
        "knobs.runtime.kernel_load_start_hook, kernel_load_end_hook",
        _KNOBS,
        (Feature.MODULE_LOADS,),
        "chains that are called before and after a module is loaded onto a device",
        all_of(
            can_be_called(_KNOBS, "runtime_knobs.kernel_load_start_hook.add", "listener"),
            can_be_called(_KNOBS, "runtime_knobs.kernel_load_start_hook.remove", "listener"),
            can_be_called(_KNOBS, "runtime_knobs.kernel_load_end_hook.add", "listener"),
            can_be_called(_KNOBS, "runtime_knobs.kernel_load_end_hook.remove", "listener"),
        ),
        names=("kernel_load_start_hook", "kernel_load_end_hook"),
        read_in=("3.6", "3.8", "3.9"),
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
