"""``triton.compiler.compiler``: Triton's own compiler, where it is, and the keys of binaries."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from . import backends
from .seam import Feature, Finding, Seam, all_of, as_read, can_be_called, takes

MODULE = "triton.compiler.compiler"
_CACHE, _EXTENSION = "triton.runtime.cache", "triton._C.libtriton"


def stock_compile() -> Any:
    """Triton's own `compile`."""
    return importlib.import_module(MODULE).compile


def binary_key(src: Any, backend: Any, options: Any) -> str:
    """The name under which Triton keeps the binary of `src`."""
    variables = str(sorted(code_variables().items()))
    key = f"{installation_digest()}-{src.hash()}-{backend.hash()}-{options.hash()}-{variables}"
    return hashlib.sha256(key.encode("utf-8")).hexdigest()


def code_variables() -> dict[str, Any]:
    """Variables that change code, with their values now: a part of the key."""
    variables: dict[str, Any] = extension().get_cache_invalidating_env_vars()
    return variables


def extension() -> Any:
    """Triton's extension module, which holds the compiler."""
    return sys.modules[_EXTENSION]


def installation_digest() -> str:
    """Triton's digest of its own installation; half a second the first time."""
    for module in (_CACHE, MODULE):  # from 3.6 on, and before
        if (function := getattr(sys.modules.get(module), "triton_key", None)) is not None:
            return str(function())
    raise LookupError("triton_key")


def compiler_files() -> dict[str, str | None]:
    """The files of the modules that compile here, by name."""
    names = ["triton", _EXTENSION, MODULE, _CACHE]
    names += [kind.__module__ for kind in backends.backend_classes()]
    return {name: getattr(sys.modules[name], "__file__", None) for name in names}


def import_path() -> list[str]:
    """Where Triton is imported from, and where it finds its backends: they are named beside it."""
    home = str(Path(str(sys.modules["triton"].__file__)).parents[1])
    return [home, *(path for path in map(str, sys.path) if path != home and _names_backends(path))]


def _names_backends(path: str) -> bool:
    if not Path(path).is_absolute():
        return False
    try:
        return any(one.suffix in (".dist-info", ".egg-info") for one in Path(path).glob("*triton*"))
    except OSError:
        return False


def threads_of_a_compiler() -> int:
    """How many threads compiling one candidate starts, beside the one that asks.

    Up to 3.5 MLIR's passes ran in as many as there are cores, and Triton's compiler ended them by
    `disable_multithreading` when it was done; a later compiler starts none, and has no such method.
    """
    context = getattr(getattr(extension(), "ir", None), "context", None)
    return (os.cpu_count() or 1) if hasattr(context, "disable_multithreading") else 0


def compiles_asynchronously() -> bool:
    """Whether the program compiles in threads of its own at the moment."""
    module: Any = sys.modules.get("triton.runtime._async_compile")
    return module is not None and module.active_mode.get() is not None


# -- probes ----------------------------------------------------------------------------------


def _triton_key() -> Finding:
    places = (sys.modules.get(_CACHE), sys.modules.get(MODULE))
    found = [getattr(place, "triton_key", None) for place in places]
    return as_read(any(map(takes, filter(None, found)))) if any(found) else Finding.ABSENT


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "compiler.compile",
        MODULE,
        (*_COMPILING, Feature.WARM),
        "tells Triton's own compiler from a program's",
        can_be_called(MODULE, "compile", "src", target="target", options="options"),
        words=("compile",),
    ),
    Seam(
        "triton_key",
        _CACHE,
        (Feature.RESULTS, *_COMPILING, Feature.WARM),
        "Triton's digest of its own installation",
        _triton_key,
        names=("triton_key",),
    ),
    Seam(
        "libtriton.get_cache_invalidating_env_vars",
        _EXTENSION,
        (Feature.RESULTS, *_COMPILING, Feature.WARM),
        "the variables that change code",
        can_be_called(_EXTENSION, "get_cache_invalidating_env_vars"),
        names=("get_cache_invalidating_env_vars",),
    ),
    Seam(
        "ir.context.disable_multithreading",
        _EXTENSION,
        _COMPILING,
        "whether one compilation starts as many threads as there are cores",
        all_of(can_be_called(_EXTENSION, "ir.context.disable_multithreading", "self")),
        names=("disable_multithreading",),
        read_in=("3.4",),
    ),
    Seam(
        "_async_compile.active_mode",
        "triton.runtime._async_compile",
        _COMPILING,
        "whether the program compiles in threads of its own",
        can_be_called("triton.runtime._async_compile", "active_mode.get"),
        names=("active_mode", "_async_compile"),
        read_in=("3.6", "3.8", "3.9"),
    ),
)
