"""What a variant may hold: types, constants, attributes, paths and options, each by a rule of ours.

Encoding raises `Unencodable`, decoding ValueError. Nothing is evaluated, imported or opened, and
nothing is larger than kernels need.
"""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType
from typing import Any

from ...model.codec import Unencodable
from ..seams import kernels, languages

_WIDE = r"[iu](?:8|16|32|64)|fp(?:8e4b8|8e4nv|8e4b15|8e5|8e5b16|16|32|64)|bf16"
_SCALAR = rf"(?:[iu]1|void|{_WIDE})"
# No compiler takes others: of single bits, some end their process.
_SIZE = "[1-9][0-9]{0,8}"
_DESCRIPTOR = re.compile(rf"tensordesc<({_WIDE})\[({_SIZE}(?:, {_SIZE}){{0,4}})\]>")
_TYPE = re.compile(rf"constexpr|nvTmaDesc|\*?k?{_SCALAR}|{_DESCRIPTOR.pattern}")
_DTYPE = re.compile(r"u?int(?:1|8|16|32|64)|fp(?:8e4b8|8e4nv|8e4b15|8e5|8e5b16|16|32|64)|bf16|void")
_FLOAT = re.compile(r"-?0x[01]\.[0-9a-f]{1,13}p[+-]\d{1,4}|-?0x0\.0p\+0|-?inf|nan")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*){0,15}")
_ATTRIBUTES = frozenset({"tt.divisibility", "tt.pointer_range"})
_PRECISIONS = frozenset({"tf32", "tf32x3", "ieee", "bf16x3", "bf16x6"})
# Compiler options that are kept, with their types: none that names a file or is text for a tool.
_OPTIONS: dict[str, tuple[type, ...]] = {
    "num_warps": (int,),
    "num_ctas": (int,),
    "num_stages": (int,),
    "maxnreg": (int, type(None)),
    "arch": (type(None),),  # the device's own; libraries give it so
    "max_num_imprecise_acc_default": (int,),
    "waves_per_eu": (int,),
    "matrix_instr_nonkdim": (int,),
    "kpack": (int,),
    "debug": (bool,),
    "sanitize_overflow": (bool,),
    "enable_fp_fusion": (bool,),
    "launch_cooperative_grid": (bool,),
    "launch_pdl": (bool,),
    "default_dot_input_precision": (str,),
}
# Arbitrary, like the numbers in the rules above: several times what kernels have.
_MOST_INT, _MOST_CHARS, _MOST_ITEMS, _DEEPEST = 1 << 64, 200, 64, 4


def encode_type(kind: Any) -> Any:
    """The type of an argument, which is nested for a tuple."""
    if isinstance(kind, tuple) and type(kind) is tuple:
        return ["tuple", *map(encode_type, kind)]
    if type(kind) is not str or _TYPE.fullmatch(kind) is None:
        raise Unencodable(kind)
    return kind


def decode_type(value: Any, depth: int = 0) -> Any:
    if type(value) is str and _TYPE.fullmatch(value) is not None:
        return value
    what, rest = _tagged(value, depth)
    if what == "tuple":
        return tuple(decode_type(item, depth + 1) for item in rest)
    raise ValueError("no type of an argument")


def descriptor_parts(kind: str) -> tuple[str, list[int]] | None:
    """The type of elements and the shape of the block in a descriptor's type; None for others."""
    found = _DESCRIPTOR.fullmatch(kind)
    if found is None:
        return None
    dtype, block = found.groups()
    return dtype, [int(size) for size in block.split(",")]


def encode_constant(value: Any) -> Any:
    """Plain values as they are; what JSON would change is a list with a word in front."""
    kind = type(value)
    if _is_plain(value):
        return value
    if kind is float:
        return ["float", value.hex()]
    if kind in (tuple, list):
        return [kind.__name__, *map(encode_constant, value)]
    if languages.is_tritons_own(value):
        if kind.__name__ == "dtype" and _DTYPE.fullmatch(str(value)) is not None:
            return ["dtype", str(value)]
        if languages.is_constexpr(value):
            return ["constexpr", encode_constant(languages.constexpr_value(value))]
        if kernels.is_kernel(value):
            return ["kernel", value.fn.__module__, value.fn.__qualname__]
    raise Unencodable(value)


def decode_constant(value: Any, depth: int = 0) -> Any:
    if _is_plain(value):
        return value
    what, rest = _tagged(value, depth)
    if what in ("tuple", "list"):
        inner = [decode_constant(item, depth + 1) for item in rest]
        return tuple(inner) if what == "tuple" else inner
    if what == "kernel" and len(rest) == 2:
        return find_kernel(*rest)
    if len(rest) == 1:
        return _decode_single(what, rest[0], depth)
    raise ValueError("no constant")


def _decode_single(what: str, inner: Any, depth: int) -> Any:
    language: Any = languages.language()
    if what == "float" and type(inner) is str and _FLOAT.fullmatch(inner) is not None:
        return float.fromhex(inner)
    if what == "dtype" and type(inner) is str and _DTYPE.fullmatch(inner) is not None:
        return language.dtype(inner)
    if what == "constexpr":
        return language.constexpr(decode_constant(inner, depth + 1))
    raise ValueError("no constant")


def _tagged(value: Any, depth: int) -> tuple[str, list[Any]]:
    if type(value) is not list or not 0 < len(value) <= _MOST_ITEMS or type(value[0]) is not str:
        raise ValueError("no value of a variant")
    if depth > _DEEPEST:
        raise ValueError("a value that is nested too deep")
    return value[0], value[1:]


def find_kernel(module: Any, qualname: Any) -> Any:
    """The kernel of this name in a module that is loaded already. Raises ValueError."""
    kernel = find(module, qualname)
    if not kernels.is_kernel(kernel):
        raise ValueError("no kernel")
    return kernel


def find(module: Any, qualname: Any) -> Any:
    """What is under this name in a module that is loaded already. Raises ValueError.

    Modules and classes are looked into, and nothing is asked for an attribute that it may make up.
    """
    if not all(type(name) is str and _NAME.fullmatch(name) for name in (module, qualname)):
        raise ValueError("no name")
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = vars(found).get(name) if isinstance(found, (ModuleType, type)) else None
    if found is None:
        raise ValueError(f"{module}:{qualname} is not loaded")
    return found


def names_in(module: str) -> list[str]:
    """The names under which a module that is loaded holds what is of Triton's classes."""
    held = sys.modules.get(module)
    if not isinstance(held, ModuleType):
        return []
    items = list(vars(held).items())
    return [name for name, value in items if type(name) is str and languages.is_tritons_own(value)]


def encode_attributes(value: Any) -> Any:
    try:
        return decode_attributes(value)
    except ValueError as error:
        raise Unencodable(value) from error


def decode_attributes(value: Any) -> list[list[Any]]:
    """What is known of an argument: ``[["tt.divisibility", 16]]``, or nothing."""
    if type(value) is not list or len(value) > len(_ATTRIBUTES):
        raise ValueError("no attributes")
    for pair in value:
        known = type(pair) is list and len(pair) == 2 and type(pair[0]) is str
        if not known or pair[0] not in _ATTRIBUTES or not _is_count(pair[1]):
            raise ValueError("no attributes")
    return [list(pair) for pair in value]


def decode_path(text: str) -> tuple[int, ...]:
    """Where a value is: the number of the argument, then where in it."""
    if len(text) > _MOST_CHARS:
        raise ValueError("no path")
    path = json.loads(text)
    if type(path) is not list or not 0 < len(path) <= _DEEPEST or not all(map(_is_count, path)):
        raise ValueError("no path")
    return tuple(path)


def check_option(name: str, value: Any) -> Any:
    """An option of the compiler. Raises Unencodable, which is what a reader makes of it, too."""
    if type(value) not in _OPTIONS.get(name, ()):
        raise Unencodable(value)
    if type(value) is int and not _is_count(value):
        raise Unencodable(value)
    if type(value) is str and value not in _PRECISIONS:
        raise Unencodable(value)
    return value


def _is_plain(value: Any) -> bool:
    """Whether a constant stands for itself, as it is written and as it is read."""
    kind = type(value)
    if kind is int:
        return abs(value) <= _MOST_INT
    return value is None or kind is bool or (kind is str and len(value) <= _MOST_CHARS)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 31
