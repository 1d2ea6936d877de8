"""Triton's backends, one for each kind of device, and the target that one compiles for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from .seam import Feature, Finding, Seam, as_read, can_be_called, follow, takes

_COMPILER, _BACKENDS = "triton.compiler.compiler", "triton.backends"


def backend_for(target: Any) -> Any:
    """The backend of a target."""
    return importlib.import_module(_COMPILER).make_backend(target)


def backend_digest(backend: Any) -> str:
    """A backend's part of the key: its tools and its architecture."""
    return backend.hash()


def parsed_options(backend: Any, options: Mapping[str, Any]) -> Any:
    """Options as an object of the backend's, whose attributes are all that there are."""
    return backend.parse_options(dict(options))


def usual_options(backend: Any) -> dict[str, Any]:
    """The options of a launch that gives none."""
    return vars(backend.parse_options({}))


def plain_target(target: Any) -> tuple[Any, Any, Any]:
    """A target as plain data."""
    return target.backend, target.arch, target.warp_size


def backend_classes() -> list[Any]:
    """The class of every backend that is installed, of Triton's own and of others."""
    return [one.compiler for one in list(sys.modules[_BACKENDS].backends.values())]


def _backends() -> Finding:
    base = follow("triton.backends.compiler", "BaseBackend")
    kinds = [kind for kind in backend_classes() if kind.__module__.startswith(f"{_BACKENDS}.")]
    wanted = (("hash", 0), ("parse_options", 1))
    return as_read(
        bool(kinds)
        and all(takes(getattr(k, n), "self", *["x"] * c) for k in (base, *kinds) for n, c in wanted)
    )


def _target() -> Finding:
    target = follow("triton.backends.compiler", "GPUTarget")("cuda", 90, 32)
    return as_read(plain_target(target) == ("cuda", 90, 32))


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "compiler.make_backend",
        _COMPILER,
        (Feature.RESULTS, *_COMPILING, Feature.VARIANTS, Feature.WARM),
        "the backend of a target",
        can_be_called(_COMPILER, "make_backend", "target"),
        names=("make_backend",),
    ),
    Seam(
        "backends: hash, parse_options",
        "triton.backends.compiler",
        (Feature.RESULTS, *_COMPILING, Feature.VARIANTS, Feature.WARM),
        "a backend's part of a binary's key, and its options",
        _backends,
        names=("parse_options",),
        words=("hash", "backends", "compiler"),
    ),
    Seam(
        "GPUTarget.backend, arch, warp_size",
        "triton.backends.compiler",
        (Feature.RESULTS, *_COMPILING),
        "what is compiled for, as plain data",
        _target,
        names=("GPUTarget", "warp_size"),
        words=("backend", "arch"),
    ),
)
