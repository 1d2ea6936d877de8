"""``ASTSource``: a variant of a kernel as the compiler is given it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import samples
from .seam import Feature, Finding, Seam, as_read, takes

_MODULE = "triton.compiler.compiler"


class Sides(NamedTuple):
    """What Triton's source of a variant says of it."""

    signature: dict[str, Any]
    constants: dict[Any, Any]
    attrs: dict[Any, Any]


def is_source(src: Any) -> bool:
    """Whether it is Triton's own kind of source, of which there is TTIR to send."""
    return type(src) is importlib.import_module(_MODULE).ASTSource


def source(
    jit: Any, signature: Mapping[str, Any], constants: Mapping[Any, Any], attrs: Mapping[Any, Any]
) -> Any:
    """Triton's source of a variant of a kernel."""
    return importlib.import_module(_MODULE).ASTSource(jit, signature, constants, attrs)


def sides(src: Any) -> Sides:
    """What a source was made of: types, constants by their path, what is known of arguments."""
    return Sides(src.signature, src.constants, src.attrs)


def kernel_of(src: Any) -> Any:
    """The kernel that a source is of: the copy that was asked."""
    return src.fn


def name_of(src: Any) -> str:
    """The name of a source, by which its files are called."""
    return src.name


def source_digest(src: Any) -> str:
    """A source's own part of the binary's key."""
    return src.hash()


def _source_is_read() -> Finding:
    jit = samples.kernel()
    if jit is None:
        return Finding.AS_READ
    src = source(jit, {"x": "i32"}, {}, {(0,): [["tt.divisibility", 16]]})
    held = sides(src)
    return as_read(
        is_source(src)
        and kernel_of(src) is jit
        and name_of(src) == jit.__name__
        and held == ({"x": "i32"}, {}, {(0,): [["tt.divisibility", 16]]})
        and takes(src.hash)
    )


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "compiler.ASTSource",
        _MODULE,
        (*_COMPILING, Feature.VARIANTS),
        "a variant of a kernel: types, constants, what is known of arguments",
        _source_is_read,
        names=("ASTSource",),
        words=("fn", "name", "signature", "constants", "attrs", "hash"),
    ),
)
