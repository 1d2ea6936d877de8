"""Whether what compiles in this process is Triton's own compiler, as it was installed.

A program may change the compiler under Triton's own key for a binary: instrument it, put a backend
or a stage of its own in, wrap a function. Another process knows nothing of that, so then nothing is
compiled elsewhere. It is looked at whenever something is to be sent away, and recognised by where
code comes from: whatever Triton's modules of the compiler hold is from a file of Triton's or of
Python's library, and whatever its extension module holds is not Python.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from . import compat

# What these knobs and variables make a compiler print or write is meant to be seen.
_IN_THIS_PROCESS = {
    "compilation": ("always_compile", "override", "dump_ir", "use_ir_loc", "instrumentation_mode"),
    "nvidia": ("dump_nvptx", "dump_ptxas_log"),
    "amd": ("dump_amdgcn", "dump_mir", "swap_mir"),
}
_PRINTING = (
    "MLIR_ENABLE_DUMP",
    "LLVM_IR_ENABLE_DUMP",
    "MLIR_ENABLE_TIMING",
    "LLVM_ENABLE_TIMING",
    "MLIR_ENABLE_DIAGNOSTICS",
    "TRITON_ENABLE_LLVM_DEBUG",
    "TRITON_LLVM_DEBUG_ONLY",
    "TRITON_REPRODUCER_PATH",
)
# Modules that take part in compiling, beside those of the backend.
_MODULES = (
    "triton.compiler.compiler",
    "triton.backends",
    "triton.backends.compiler",
    "triton.runtime.cache",
    "triton.knobs",
    "triton._instrumentation",
)
# Parts of the extension module that generating code does not use, or uses here alone.
_EXTENSIONS = ("passes", "llvm", "nvidia", "amd")
_GENERATED = frozenset({"<string>"})  # by dataclasses
_NATIVE = frozenset({"builtins", "typing", "types", "nanobind", "pybind11_builtins"})


def blocked() -> str | None:
    """Why nothing may be compiled outside of this process now; None if it may.

    Takes about a millisecond: it is asked once for a key.
    """
    if compat.interpreting():
        return "interpreter"
    return _seen() or _changed()


def _seen() -> str | None:
    """What is to be seen or heard of compilations."""
    knobs: Any = sys.modules["triton.knobs"]
    try:
        for group, names in _IN_THIS_PROCESS.items():
            for name in names:
                if getattr(getattr(knobs, group, None), name, None):
                    return name
        compat.set_knobs()
    except Exception as error:  # a knob that cannot be read, or not be described
        return str(error) or type(error).__name__
    for name in _PRINTING:
        if os.environ.get(name, "0") not in ("", "0"):
            return name
    if getattr(knobs.runtime, "add_stages_inspection_hook", None) is not None:
        return "add_stages_inspection_hook"
    if compat.compiles_asynchronously():
        return "AsyncCompileMode"
    return None


def _changed() -> str | None:
    """What of the compiler is not Triton's own."""
    for module in _compilers():
        for name, value in _held(module):
            if not _is_installed(value):
                return f"{module.__name__}.{name} is not Triton's own"
    if getattr(sys.modules.get("triton._instrumentation"), "_callbacks", None):
        return "registered instrumentation"
    for backend in sys.modules["triton.backends"].backends.values():
        kind = backend.compiler
        if sys.modules.get(kind.__module__) not in _compilers():
            return f"{kind.__module__}.{kind.__qualname__} is no backend of Triton's"
        if getattr(kind, "instrumentation", None):
            return "instrumentation"
    extension = sys.modules["triton._C.libtriton"]
    for part in _EXTENSIONS:
        if (inner := _python_in(getattr(extension, part, None))) is not None:
            return f"{part}.{inner} is not Triton's own"
    return None


def _compilers() -> list[ModuleType]:
    names = [name for name in sys.modules if name.startswith("triton.backends.")]
    names = [*_MODULES, *(name for name in names if name.endswith(".compiler"))]
    found = [sys.modules.get(name) for name in dict.fromkeys(names)]
    return [module for module in found if isinstance(module, ModuleType)]


def _held(owner: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """What a module or class of Triton's holds, with what its own classes hold."""
    home = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    for name, value in list(vars(owner).items()):
        if isinstance(value, type) and value.__module__ == home and depth < 3:
            yield from ((f"{name}.{inner}", held) for inner, held in _held(value, depth + 1))
        else:
            yield name, value


def _is_installed(value: Any) -> bool:
    """Whether a value is data, or code of Triton's or of Python's library."""
    if isinstance(value, (staticmethod, classmethod)):
        return _is_installed(value.__func__)
    if isinstance(value, property):
        return all(map(_is_installed, (value.fget, value.fset, value.fdel)))
    if isinstance(value, functools.partial):
        return _is_installed(value.func)
    if isinstance(value, FunctionType):
        return _is_installed_function(value) and _is_installed(getattr(value, "__wrapped__", None))
    if isinstance(value, functools._lru_cache_wrapper):
        return _is_installed(value.__wrapped__)
    if isinstance(value, type):
        return _is_known_module(value.__module__)
    if not callable(value):
        return True
    kind = type(value).__module__
    return kind in _NATIVE or kind.partition(".")[0] == "triton"


def _is_installed_function(function: FunctionType) -> bool:
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or vars(module) is not function.__globals__:
        return False
    if not _is_known_module(module.__name__):
        return False
    file = function.__code__.co_filename
    return file in _GENERATED or file.startswith("<frozen ") or file == module.__file__


def _is_known_module(name: str) -> bool:
    package = name.partition(".")[0]
    return package == "triton" or package in sys.stdlib_module_names


def _python_in(module: Any) -> str | None:
    """The name of something in a module of the extension that is Python; None if nothing is."""
    for name, value in [] if module is None else list(vars(module).items()):
        if isinstance(value, ModuleType):
            if (inner := _python_in(value)) is not None:
                return f"{name}.{inner}"
        elif isinstance(value, type):
            inside = (n for n, held in vars(value).items() if isinstance(held, FunctionType))
            if (method := next(inside, None)) is not None and not _is_enum(value):
                return f"{name}.{method}"
        elif callable(value) and not _is_native(value):
            return name
    return None


def _is_native(value: Any) -> bool:
    return not isinstance(value, FunctionType) and type(value).__module__ in _NATIVE


def _is_enum(kind: type) -> bool:
    return any(base.__module__ == "enum" for base in kind.__mro__)
