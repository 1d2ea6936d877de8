"""``triton.language``: how its objects are told from others, and what they are made of.

By the names of classes and marks: a kernel may hold them before Triton's own modules are looked at,
and an object of an interpreter's or a fork's language counts, too.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any

from .seam import Feature, Finding, Seam, all_of, as_read, follow, is_there

CORE = "triton.language.core"
_DESCRIPTOR = "TensorDescriptor"
_DESCRIPTORS = "triton.tools.tensor_descriptor"


def is_dtype_class(kind: type) -> bool:
    """Whether a class is Triton's of data types, of which equal ones have equal texts."""
    return (kind.__module__, kind.__name__) == (CORE, "dtype")


def is_tritons_own(value: Any) -> bool:
    """Whether a class or value is from a module of Triton's."""
    return type(value).__module__.startswith("triton.")


def is_constexpr(value: Any) -> bool:
    return type(value).__name__ == "constexpr"


def constexpr_value(value: Any) -> Any:
    """What a constexpr holds; None for what holds nothing."""
    return getattr(value, "value", None)


def is_builtin(value: Any) -> bool:
    """Whether a function or class is one that the code generator calls: ``@builtin``."""
    return bool(getattr(value, "__triton_builtin__", False))


def is_aggregate(value: Any) -> bool:
    """Whether it is a class of several values, made by ``@aggregate``."""
    return bool(getattr(value, "__triton_aggregate__", False))


def aggregate_parts(value: Any) -> Any:
    """The functions of an aggregate that kernels may call, which Triton digests, too; from 3.6."""
    return getattr(value, "hash_attrs", ())


def is_language_module(name: str) -> bool:
    """Whether a module is part of Triton's language."""
    return name == "triton" or name.startswith("triton.language")


def described_tensor(value: Any) -> Any:
    """The tensor behind a descriptor; the value itself for anything else."""
    if hasattr(value, "dtype") or not type(value).__name__.startswith(_DESCRIPTOR):
        return value
    return getattr(value, "base", None)


def is_shaped_by_hook(value: Any) -> bool:
    """Whether an argument is a descriptor, whose block a candidate's hook may set."""
    return hasattr(value, "block_shape")


def descriptor(base: Any, block_shape: list[int]) -> Any:
    """A descriptor of which Triton can make the type of an argument, and nothing else.

    Its own constructor asks for shapes and strides, which are no part of the type.
    """
    made = object.__new__(sys.modules[_DESCRIPTORS].TensorDescriptor)
    made.base, made.block_shape = base, block_shape
    return made


def before_interpreter(value: Any) -> Any:
    """What was there before a launch in the interpreter of Triton 3.4, which never puts it back."""
    if isinstance(value, FunctionType) and value.__module__ == "triton.runtime.interpreter":
        return (value.__kwdefaults__ or {}).get("member", value)
    return value


def language() -> ModuleType:
    """``triton.language``, where it is loaded."""
    return sys.modules["triton.language"]


# -- probes ----------------------------------------------------------------------------------


def _mark() -> Finding:
    """By the name of the mark: while an interpreter runs, what is marked is replaced."""
    return as_read(follow(CORE, "TRITON_BUILTIN") == "__triton_builtin__")


def _constexpr() -> Finding:
    one = follow(CORE, "constexpr")(3)
    return as_read(is_constexpr(one) and type(one.value) is int and constexpr_value(one) == 3)


SEAMS = (
    Seam(
        "language.core.constexpr.value",
        CORE,
        (Feature.RESULTS, Feature.VARIANTS, Feature.COMPILE_AHEAD),
        "a constant of a kernel",
        _constexpr,
        words=("value",),
    ),
    Seam(
        "language.core.dtype",
        CORE,
        (Feature.VARIANTS, Feature.COMPILE_AHEAD),
        "a data type, made of its name",
        lambda: as_read(
            is_dtype_class(follow(CORE, "dtype")) and str(follow(CORE, "dtype")("fp16")) == "fp16"
        ),
    ),
    Seam(
        "__triton_builtin__",
        CORE,
        (Feature.RESULTS,),
        "marks what belongs to the language, and is covered by Triton's version",
        _mark,
        names=("__triton_builtin__",),
    ),
    Seam(
        "aggregates: __triton_aggregate__, hash_attrs",
        CORE,
        (Feature.RESULTS,),
        "classes that kernels read; what they hold is part of the kernel",
        all_of(is_there(CORE, "_aggregate")),
        names=("__triton_aggregate__", "hash_attrs"),
    ),
    Seam(
        "TensorDescriptor.base, block_shape",
        _DESCRIPTORS,
        (Feature.RESULTS, Feature.COMPILE_POOL, Feature.WARM),
        "the tensor that a descriptor describes, and the block that a hook may set",
        lambda: as_read(
            {"base", "block_shape"} <= follow(_DESCRIPTORS, _DESCRIPTOR).__dataclass_fields__.keys()
        ),
        names=("block_shape",),
        words=("base",),
    ),
)
