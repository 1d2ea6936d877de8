"""The knobs and variables that the compiler reads."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from typing import Any

from . import knobs as all_knobs
from .seam import Feature, Finding, Seam, as_read

_MODULE = "triton.knobs"

# Groups of knobs that the compiler reads, and what in them it does not read: listeners, what builds
# launchers, what keeps binaries.
COMPILER_GROUPS = ("build", "cache", "compilation", "language", "nvidia", "amd")

_NOT_READ = frozenset({"listener", "impl", "manager_class", "remote_manager_class"})

# What these make a compiler print or write is meant to be seen.
_SEEN = {
    "compilation": ("always_compile", "override", "dump_ir", "use_ir_loc", "instrumentation_mode"),
    "nvidia": ("dump_nvptx", "dump_ptxas_log"),
    "amd": ("dump_amdgcn", "dump_mir", "swap_mir"),
}

# The same, as variables that are no knobs.
SEEN_VARIABLES = (
    "MLIR_ENABLE_DUMP",
    "LLVM_IR_ENABLE_DUMP",
    "MLIR_ENABLE_TIMING",
    "LLVM_ENABLE_TIMING",
    "MLIR_ENABLE_DIAGNOSTICS",
    "TRITON_ENABLE_LLVM_DEBUG",
    "TRITON_LLVM_DEBUG_ONLY",
    "TRITON_REPRODUCER_PATH",
)


class NotPlain(Exception):
    """The program has set a knob to what no other process can have."""


def _knobs() -> Any:
    return sys.modules[_MODULE]


def seen() -> str | None:
    """The name of a knob that makes a compiler print or write what is to be seen; None if none."""
    for group, names in _SEEN.items():
        for name in names:
            if getattr(getattr(_knobs(), group, None), name, None):
                return name
    return None


def language_values() -> str:
    """All knobs that the code generator may read, with their values at the moment."""
    groups = (getattr(_knobs(), name, None) for name in ("language", "compilation"))
    return repr([sorted(getattr(group, "knobs", {}).items()) for group in groups])


def set_by_program() -> dict[str, dict[str, Any]]:
    """Knobs of the compiler that the program has set, by group. Raises NotPlain."""
    knobs = _knobs()
    found: dict[str, dict[str, Any]] = {}
    for group in COMPILER_GROUPS:
        if not hasattr(knobs, group):
            continue
        values = {
            name: value
            for name, value in list(vars(getattr(knobs, group)).items())
            if name[:1] != "_" and name not in _NOT_READ
        }
        for name, value in values.items():
            if value is not None and type(value) not in (str, int, bool):
                raise NotPlain(f"knobs.{group}.{name}")
        found[group] = values
    # Its default was read from the environment when Triton was imported.
    found["cache"] = {**found.get("cache", {}), "dir": all_knobs.cache_directory()}
    return found


def changed_switches(variables: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Of the variables that change code, those that make the compiler another than it is unset.

    A variable that is a knob is set as the knob says; of the others what is no "off" counts.
    """
    switches = _switches(sys.modules.get(_MODULE))
    for name, value in variables.items():
        if name in switches:
            knob = switches[name]
            default = bool(knob.default() if callable(knob.default) else knob.default)
            if (now := bool(knob.get())) != default:
                yield name, str(now).lower()
        elif value not in ("", "false", "0"):
            yield name, value


@functools.lru_cache(maxsize=1)
def _switches(knobs: Any) -> dict[str, Any]:
    """By their names, Triton's variables that are on or off, which are attributes of classes."""
    kind: Any = getattr(knobs, "env_bool", None)
    groups = list(vars(knobs).values()) if isinstance(kind, type) else []
    knobs_of = [knob for group in groups for knob in list(vars(type(group)).values())]
    return {knob.key: knob for knob in knobs_of if isinstance(knob, kind)}


def _groups() -> Finding:
    missing = [name for name in COMPILER_GROUPS if not hasattr(_knobs(), name)]
    if missing:
        return Finding.ABSENT
    # Both are how a group keeps what a program sets, and what the helper is told.
    return as_read(all(hasattr(type(getattr(_knobs(), g)), "knobs") for g in COMPILER_GROUPS))


def _seen_knobs() -> Finding:
    """Those that every version has."""
    first = ("always_compile", "override", "dump_ir", "use_ir_loc")
    return as_read(all(hasattr(_knobs().compilation, name) for name in first))


def _descriptors() -> Finding:
    found = _switches.__wrapped__(_knobs())
    return as_read(
        "TRITON_DEFAULT_FP_FUSION" in found and all(hasattr(k, "default") for k in found.values())
    )


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "knobs: groups of the compiler",
        _MODULE,
        _COMPILING,
        "what the program has set, which the helper must be told",
        _groups,
        words=("build", "cache", "compilation", "language", "nvidia", "amd", "knobs"),
    ),
    Seam(
        "knobs: what is to be seen",
        _MODULE,
        _COMPILING,
        "what a compiler prints or writes belongs to the program's own process",
        _seen_knobs,
        names=("always_compile", "dump_ir", "use_ir_loc", "instrumentation_mode"),
        words=("override",),
    ),
    Seam(
        "knobs.env_bool: key, default, get()",
        _MODULE,
        (Feature.RESULTS,),
        "variables that are on or off: set to their default they are as unset",
        _descriptors,
        names=("env_bool",),
    ),
)
