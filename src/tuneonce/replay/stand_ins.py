"""Arguments that a kernel specialises itself for as it did for those of an earlier launch.

Triton looks at an argument's type, whether it is 1 or divisible by 16, where a pointer is aligned
to, at the elements and the block of a descriptor, and at the values of constants. So a recorded
variant is turned into values that look alike, and the kernel is asked to warm itself up with them:
its key, its source and its options are made by Triton, from one and the same values, whatever the
record says. There are no tensors among them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..triton.compile import variant_grammar as grammar
from ..triton.compile.variants import Variant
from ..triton.seams import kernels, languages

Path = tuple[int, ...]

# Divisible by 16, and not. Of 1 nothing is known where it is no constant: an annotated parameter.
_ALIGNED, _UNALIGNED, _ONE = 16, 3, 1
# What makes an integer one of this type, where its parameter does not say so.
_LEAST = {"i64": 1 << 40, "u64": 1 << 63}


class NoStandIn(Exception):
    """There are no such arguments: of a type that is not known here, or the kernel has changed."""


class Pointer:
    """In the place of a tensor: Triton asks for these and nothing else."""

    def __init__(self, dtype: str, *, aligned: bool, near: bool) -> None:
        self.dtype = dtype
        self._aligned, self._near = aligned, near

    def data_ptr(self) -> int:
        return 0 if self._aligned else 8

    def ptr_range(self) -> int:
        """The size of what it points to: AMD's compiler tells 32 bits from more."""
        return 0 if self._near else 1 << 40


def takes_positions(jit: Any) -> bool:
    """Whether all of a kernel's parameters can be given by their position."""
    kinds = [parameter.kind for parameter in kernels.signature(jit, None).parameters.values()]
    return all(kind is kind.POSITIONAL_OR_KEYWORD for kind in kinds)


def annotated(jit: Any) -> frozenset[str]:
    """The parameters of a kernel whose types may be its own, whatever a launch gives."""
    parameters = kernels.signature(jit, None).parameters.values()
    return frozenset(one.name for one in parameters if one.annotation is not one.empty)


def arguments(
    names: Sequence[str], variant: Variant, of_own_type: Collection[str] = ()
) -> list[Any]:
    """One for each parameter. `of_own_type` are those that are `annotated`.

    Raises `NoStandIn`, and ValueError for what no variant holds.
    """
    signature = {n.removeprefix("sig."): v for n, v in variant.items() if n.startswith("sig.")}
    if list(signature) != list(names):
        raise NoStandIn("the kernel has other parameters")
    constants = {
        grammar.decode_path(name.removeprefix("const.")): grammar.decode_constant(value)
        for name, value in variant.items()
        if name.startswith("const.")
    }
    attributes = {
        grammar.decode_path(name.removeprefix("attr.")): grammar.decode_attributes(value)
        for name, value in variant.items()
        if name.startswith("attr.")
    }
    kinds = map(grammar.decode_type, signature.values())
    made = [_one(kind, (i,), constants, attributes) for i, kind in enumerate(kinds)]
    for i, name in enumerate(names):
        if name in of_own_type and type(made[i]) is int and (i,) not in {*attributes, *constants}:
            made[i] = _ONE
    return made


def _one(
    kind: Any, path: Path, constants: Mapping[Path, Any], attributes: Mapping[Path, Any]
) -> Any:
    if isinstance(kind, tuple):
        return tuple(_one(k, (*path, i), constants, attributes) for i, k in enumerate(kind))
    if kind == "constexpr":
        if path not in constants:
            raise NoStandIn("a constant is not recorded")
        return constants[path]
    if (parts := grammar.descriptor_parts(kind)) is not None:
        dtype, block = parts
        return languages.descriptor(Pointer(dtype, aligned=True, near=True), block)
    known = [name for name, _ in attributes.get(path, ())]
    aligned = "tt.divisibility" in known
    if kind.startswith("*"):
        dtype = kind.removeprefix("*").removeprefix("k")
        return Pointer(dtype, aligned=aligned, near="tt.pointer_range" in known)
    if kind in ("u1", "i1"):
        return True
    if kind.startswith(("fp", "bf")):
        return 1.5
    if kind[0] in "iu" and kind[1:].isdigit():
        return _LEAST.get(kind, 0) + (_ALIGNED if aligned else _UNALIGNED)
    raise NoStandIn(f"no argument of type {kind}")
