"""``triton.knobs``: groups of settings, each read from a variable unless the program sets it.

A group is an object. Its class holds a descriptor for every variable, its own dictionary what the
program has set. What the compiler reads is in `compiler_knobs`.
"""

from __future__ import annotations

import sys
from typing import Any

from .seam import Feature, Seam, all_of, is_there

MODULE = "triton.knobs"


def _knobs() -> Any:
    return sys.modules[MODULE]


def prints() -> bool:
    """Whether ``TRITON_PRINT_AUTOTUNING`` is on; read at each tuning, as stock Triton does."""
    return bool(_knobs().autotuning.print)


def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return bool(_knobs().runtime.interpret)


def allows_plain_globals() -> bool:
    """Whether kernels may read globals that are no constexprs, which no digest covers."""
    return bool(_knobs().compilation.allow_non_constexpr_globals)


def has_jit_hook() -> bool:
    """Whether something of the program's hears of a launch before it compiles."""
    return getattr(_knobs().runtime, "jit_cache_hook", None) is not None


def has_stages_hook() -> bool:
    """Whether something of the program's may change the compiler's stages; from 3.6 on."""
    return getattr(_knobs().runtime, "add_stages_inspection_hook", None) is not None


def cache_directory() -> Any:
    """Where Triton keeps files."""
    return _knobs().cache.dir


def cache_manager_class() -> Any:
    """The class of the program's own that keeps files; None for Triton's."""
    return _knobs().cache.manager_class


# -- probes ----------------------------------------------------------------------------------


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "knobs.autotuning.print",
        MODULE,
        (Feature.HOOK,),
        "whether the outcome of a tuning is printed",
        is_there(MODULE, "autotuning.print"),
        words=("print",),
    ),
    Seam(
        "knobs.runtime.interpret",
        MODULE,
        (*_COMPILING, Feature.STOCK_FILES),
        "whether kernels are interpreted, and nothing is compiled or kept",
        is_there(MODULE, "runtime.interpret"),
        words=("interpret",),
    ),
    Seam(
        "knobs.runtime.jit_cache_hook",
        MODULE,
        _COMPILING,
        "hears of a launch before it compiles, and may change what the kernel reads",
        is_there(MODULE, "runtime.jit_cache_hook"),
        names=("jit_cache_hook",),
    ),
    Seam(
        "knobs.runtime.add_stages_inspection_hook",
        MODULE,
        _COMPILING,
        "changes the compiler's stages",
        is_there(MODULE, "runtime.add_stages_inspection_hook"),
        names=("add_stages_inspection_hook",),
        read_in=("3.6", "3.8", "3.9"),
    ),
    Seam(
        "knobs.compilation.allow_non_constexpr_globals",
        MODULE,
        (Feature.COMPILE_AHEAD,),
        "lets kernels read globals that no digest covers",
        is_there(MODULE, "compilation.allow_non_constexpr_globals"),
        names=("allow_non_constexpr_globals",),
    ),
    Seam(
        "knobs.cache.dir, manager_class",
        MODULE,
        _COMPILING,
        "where binaries are kept, and by whom",
        all_of(is_there(MODULE, "cache.dir"), is_there(MODULE, "cache.manager_class")),
        names=("manager_class",),
        words=("dir",),
    ),
)
