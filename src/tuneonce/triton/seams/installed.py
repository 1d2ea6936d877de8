"""The modules that compile, and what a program may have put into them."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from . import compilers
from .seam import Feature, Finding, Seam, as_read, is_there

# Modules that take part in compiling, beside those of the backends.
_COMPILERS = (
    "triton.compiler.compiler",
    "triton.backends",
    "triton.backends.compiler",
    "triton.runtime.cache",
    "triton.knobs",
    "triton._instrumentation",
)
# What generates code, which is done in this process.
_GENERATORS = (
    "triton.compiler.code_generator",
    "triton.language.core",
    "triton.language.semantic",
    "triton.runtime.jit",
)
# Parts of the extension module that generating code does not use, or uses here alone.
_EXTENSIONS = ("passes", "llvm", "nvidia", "amd")


def compiler_modules() -> list[ModuleType]:
    """The modules that compile, as far as they are loaded."""
    # A copy: other threads import meanwhile. No call for each: there are thousands.
    names = [name for name in list(sys.modules) if name[-9:] == ".compiler"]
    names = [*_COMPILERS, *(name for name in names if name.startswith("triton.backends."))]
    found = [sys.modules.get(name) for name in dict.fromkeys(names)]
    return [module for module in found if isinstance(module, ModuleType)]


def generator_modules() -> list[ModuleType]:
    """The modules that generate code, as far as they are loaded."""
    found = [sys.modules.get(name) for name in _GENERATORS]
    return [module for module in found if module is not None]


def compiling_extensions() -> dict[str, Any]:
    """The parts of the extension module that compile, by name."""
    return {name: getattr(compilers.extension(), name, None) for name in _EXTENSIONS}


def has_registered_instrumentation() -> bool:
    """Whether a program is called back by the compiler's passes; from 3.9 on."""
    return bool(getattr(sys.modules.get("triton._instrumentation"), "_callbacks", None))


def is_instrumented(backend: Any) -> bool:
    """Whether a program has put something into a backend's class that its stages call."""
    return bool(getattr(backend, "instrumentation", None))


def _modules() -> Finding:
    return as_read(all(name in sys.modules for name in _COMPILERS[:-1]))


def _generators() -> Finding:
    """The code generator itself comes with the first compilation, and takes long to import."""
    missing = [name for name in _GENERATORS if name not in sys.modules]
    return as_read(all(importlib.util.find_spec(name) is not None for name in missing))


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "modules of the compiler",
        "triton.compiler.compiler",
        _COMPILING,
        "where a program would change the compiler",
        _modules,
    ),
    Seam(
        "modules of the code generator",
        "triton.compiler.compiler",
        _COMPILING,
        "where a program would change how code is generated",
        _generators,
    ),
    Seam(
        "libtriton: passes, llvm, nvidia, amd",
        "triton._C.libtriton",
        _COMPILING,
        "where a program would change a stage of the compiler",
        lambda: as_read(all(isinstance(v, ModuleType) for v in compiling_extensions().values())),
        words=_EXTENSIONS,
    ),
    Seam(
        "backend.instrumentation",
        "triton.backends.nvidia.compiler",
        _COMPILING,
        "what a program has put into a backend, up to 3.8",
        is_there("triton.backends.nvidia.compiler", "CUDABackend.instrumentation"),
        names=("instrumentation",),
        read_in=("3.6", "3.8"),
    ),
    Seam(
        "_instrumentation._callbacks",
        "triton._instrumentation",
        _COMPILING,
        "what a program has registered with the compiler's passes",
        is_there("triton._instrumentation", "_callbacks", dict),
        names=("_callbacks", "_instrumentation"),
        read_in=("3.9",),
    ),
)
