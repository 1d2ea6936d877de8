"""What the compile helper uses of Triton (`triton.compile.worker.compile_job`).

It runs by its file, alone with Triton and Python's library, so it cannot call functions of this
package: it names what it uses itself, in that one file, and this is the table of it.
"""

from __future__ import annotations

import inspect
from typing import Any

from .seam import Feature, Finding, Seam, all_of, as_read, can_be_called, follow, is_there

_COMPILER, _KNOBS = "triton.compiler.compiler", "triton.knobs"
_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)


def _looks_up_its_names() -> Finding:
    """`compile` finds the cache through its module, where the helper puts a check."""
    compile: Any = follow(_COMPILER, "compile")
    scope = inspect.unwrap(compile).__globals__
    return as_read({"get_cache_manager", "make_backend"} <= scope.keys())


def _subclass_of_source() -> Finding:
    """What `compile` asks of a source that is no file."""
    wanted = ("hash", "make_ir", "parse_options")
    source: Any = follow(_COMPILER, "ASTSource")
    return as_read(all(callable(getattr(source, name, None)) for name in wanted))


SEAMS = (
    Seam(
        "helper: compiler.get_cache_manager",
        _COMPILER,
        _COMPILING,
        "is checked to be asked for the program's key and for no other",
        _looks_up_its_names,
    ),
    Seam(
        "helper: ASTSource with Language.TRITON, ext, make_ir",
        _COMPILER,
        _COMPILING,
        "a source whose code is the program's text",
        all_of(_subclass_of_source, is_there(_COMPILER, "Language.TRITON")),
        names=("Language",),
        words=("ext",),
    ),
    Seam(
        "helper: ir.parse_mlir_module",
        _COMPILER,
        _COMPILING,
        "reads the program's text",
        can_be_called(_COMPILER, "ir.parse_mlir_module", "path", "context"),
        names=("parse_mlir_module",),
    ),
    Seam(
        "helper: knobs.nvidia.ptxas",
        _KNOBS,
        _COMPILING,
        "the assembler, whose version is asked for once and not by every compilation",
        is_there(_KNOBS, "nvidia"),
        words=("ptxas",),
    ),
)
