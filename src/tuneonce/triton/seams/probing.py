"""Looks at the Triton at hand, and says what must be switched off for want of a seam.

At install what is loaded is looked at, and quickly: usually that is Triton's autotuner and what it
is built on, since it is hooked while Triton is being imported. What needs more is decided when it
is first asked for, at the first cold key or later, when Triton is complete. Each feature is decided
once; if it is off that is told then, once.

The hook itself is not decided here but by `hookable.find`: without its seams nothing else is on.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from types import ModuleType

from .seam import Feature, Seam
from .table import needed_by

Tell = Callable[[str], None]
"""Hears ``<feature>: <seam>, <seam>`` of each feature that is off."""

# Those whose probes take half a millisecond in all. The others have Triton parse kernels or look at
# all of the compiler, and are not needed before the first cold key.
_AT_INSTALL = (
    Feature.OBSERVER,
    Feature.BENCHMARKS,
    Feature.DEVICE_TIMER,
    Feature.STOCK_FILES,
    Feature.WARMUP,
    Feature.COMPILE_TIMES,
    Feature.MODULE_LOADS,
)

_decided: dict[Feature, tuple[str, ...]] = {}
_tell: Tell | None = None


def begin(complete: ModuleType, tell: Tell) -> None:
    """Look anew, as far as modules are loaded, and `tell` what is off from here on.

    `complete` is the module that is just being imported, and complete.
    """
    global _tell
    forget()
    _tell = tell
    for feature in _AT_INSTALL:
        if all(_is_loaded(seam.module, complete) for seam in needed_by(feature)):
            missing(feature)


def end() -> None:
    """Tell no more, and look anew the next time."""
    global _tell
    _tell = None
    forget()


def forget() -> None:
    """Nothing is decided."""
    _decided.clear()


def missing(feature: Feature) -> tuple[str, ...]:
    """The names of the seams that a feature lacks, so that it must be off; usually none."""
    known = _decided.get(feature)
    if known is not None:
        return known
    found = tuple(seam.name for seam in needed_by(feature) if _is_missing(seam))
    # Two threads may look at once: one of them tells.
    decided = _decided.setdefault(feature, found)
    if decided is found and found and _tell is not None:
        _tell(reason(feature, found))
    return decided


def everything_off() -> dict[str, tuple[str, ...]]:
    """What is off, by the names of features, with the seams that they lack; imports what it must.

    The hook itself is left out.
    """
    found = {f.title: missing(f) for f in Feature if f is not Feature.HOOK}
    return {feature: seams for feature, seams in found.items() if seams}


def reason(feature: Feature, seams: tuple[str, ...]) -> str:
    """Why a feature is off, in a line."""
    return f"{feature.title}: {', '.join(seams)}"


def _is_loaded(name: str, complete: ModuleType) -> bool:
    module = sys.modules.get(name)
    if module is None:
        return False
    if module is complete:
        return True
    return not getattr(getattr(module, "__spec__", None), "_initializing", False)


def _is_missing(seam: Seam) -> bool:
    if seam.module not in sys.modules:
        with contextlib.suppress(Exception):  # `find` says what that means
            importlib.import_module(seam.module)
    return seam.is_missing()
