"""Whether Triton's ``Autotuner`` is the one that the hook was written for."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from types import ModuleType

from . import run_versions

PRUNE, BENCH = "prune_configs", "_bench"

# The methods that the hook calls or replaces, with the parameters it relies on.
_METHODS = {
    "run": ("self", "args", "kwargs"),
    BENCH: ("self", "args", "config", "meta"),
    PRUNE: ("self", "kwargs"),
}


@dataclass(frozen=True)
class Found:
    """What was found of the class in the Triton at hand.

    `missing` names what is not as expected, a `run` of no version that was read among it: the
    hook then leaves Triton alone. `foreign` names what has replaced ``Autotuner.run`` before us, if
    anything has.
    """

    version: str
    missing: tuple[str, ...]
    foreign: str | None
    skips_single_candidate: bool

    @property
    def usable(self) -> bool:
        return not self.missing and self.foreign is None


def find(module: ModuleType) -> Found:
    """Look at Triton's autotuner module; changes nothing."""
    cls = module.Autotuner
    run = getattr(cls, "run", None)
    # Not by __module__, which functools.wraps copies: a wrapper of `run` would be left out.
    scope = getattr(run, "__globals__", {})
    name = getattr(getattr(run, "__code__", None), "co_name", type(run).__name__)
    foreign = None if scope is vars(module) else f"{scope.get('__name__', '?')}.{name}"
    missing = tuple(name for name in _METHODS if not fits(cls, name))
    read = run_versions.recognise(run) if foreign is None and not missing else None
    if foreign is None and not missing and read is None:
        missing = ("run: it is of no version that was read",)
    return Found(
        version=str(getattr(sys.modules.get("triton"), "__version__", "unknown")),
        missing=missing,
        foreign=foreign,
        skips_single_candidate=read is not None and read.skips_single_candidate,
    )


def fits(cls: type, name: str) -> bool:
    """Whether a class has a method that takes what the hook gives it."""
    method = getattr(cls, name, None)
    if method is None:
        return False
    if name == "run":  # may be foreign, which is reported as such
        return True
    wanted = _METHODS[name]
    return tuple(inspect.signature(method).parameters)[: len(wanted)] == wanted
