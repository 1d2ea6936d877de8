"""The values that Triton tunes a kernel by, of one launch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...model.codec import Encoded, Unencodable, encode
from ..seams import languages
from .identity import opaque, shape_of

# Tuples in tuples. Arbitrary: kernels take one in one.
_MAX_DEPTH = 16


def tuning_key(
    arg_names: Sequence[str], keys: Iterable[str], arguments: Mapping[str, Any]
) -> tuple[tuple[str, Encoded], ...]:
    """The values Triton tunes by, in parameter order. Raises `Unencodable`.

    `arguments` are those of the call by name. As in Triton: the values of the ``key=`` arguments
    that are there, and the dtype of everything that has one. What is in a tuple and a descriptor's
    tensor have one, too, which Triton leaves out: in one process the first dtype decides for all,
    but a winner that was found for 16 bits must not meet 32 bits in another, where it may not fit.
    """
    wanted = set(keys)
    parts: list[tuple[str, Encoded]] = []
    for name in arg_names:
        if name not in arguments:
            continue
        value = arguments[name]
        if name in wanted:
            # A tensor is compared by identity: no other process has it.
            if shape_of(value) and hasattr(value, "dtype"):
                raise Unencodable(value)
            parts.append((name, encode(value, opaque=opaque)))
        parts += ((f"{place}.dtype", ["str", dtype]) for place, dtype in _dtypes(name, value))
    return tuple(parts)


def _dtypes(place: str, value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The dtypes of an argument, or of what a tuple holds, by place: ``x``, ``x.0``, ``x.1.0``.

    Raises `Unencodable` for a tuple that holds others too deep to be an argument of a kernel.
    """
    dtype = _dtype(value)
    if dtype is not None:
        yield place, dtype
    elif isinstance(value, tuple) and type(value).__name__ != "Size":
        if depth >= _MAX_DEPTH:
            raise Unencodable(value)
        for position, item in enumerate(value):
            yield from _dtypes(f"{place}.{position}", item, depth + 1)


def _dtype(value: Any) -> str | None:
    """The dtype of a tensor, of a scalar that has one, or of the tensor behind a descriptor."""
    value = languages.described_tensor(value)
    return str(value.dtype) if hasattr(value, "dtype") else None
