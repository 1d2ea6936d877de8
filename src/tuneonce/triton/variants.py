"""A compiled variant as plain data, and back: what Triton specialised a kernel for.

A variant is a flat mapping. Its names say what a value is::

    "sig.x": "*bf16"          the type of an argument
    "const.[3]": 64           a compile-time constant, by its path in Triton's sense
    "attr.[0]": [["tt.divisibility", 16]]
    "opt.num_warps": 8        a compiler option that is not the default

Two variants of one kernel share most of it, which is stored once (`split`). Values that are neither
plain nor one of Triton's own (a dtype, a constexpr, a kernel) make a variant that is not kept.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from ..codec import Unencodable

Variant = dict[str, Any]

_FILES = ("ir_override", "extern_libs")


def describe(src: Any, options: Mapping[str, Any], backend: Any) -> Variant:
    """The variant that `src` (Triton's `ASTSource`) is. Raises `Unencodable`."""
    variant: Variant = {f"sig.{name}": _encode(kind) for name, kind in src.signature.items()}
    for path, value in src.constants.items():
        variant[f"const.{json.dumps(path)}"] = _encode(value)
    for path, value in src.attrs.items():
        variant[f"attr.{json.dumps(path)}"] = _encode(value)
    usual = vars(backend.parse_options({}))
    for name, value in options.items():
        if name not in usual or usual[name] != value:
            variant[f"opt.{name}"] = _plain(name, value)
    return variant


def rebuild(jit: Any, variant: Variant) -> tuple[Any, dict[str, Any]]:
    """Triton's source of a variant of `jit`, and its options.

    Raises ValueError for a variant of other parameters: the kernel has changed too much.
    """
    from triton.compiler.compiler import ASTSource

    groups: dict[str, dict[str, Any]] = {"sig": {}, "const": {}, "attr": {}, "opt": {}}
    for name, value in variant.items():
        group, _, rest = name.partition(".")
        if group not in groups:
            raise ValueError(f"a variant holds {name!r}")
        groups[group][rest] = _plain(rest, value) if group == "opt" else _decode(value)
    if list(groups["sig"]) != list(jit.arg_names):
        raise ValueError("the kernel has other parameters")
    constants = {_path(text): value for text, value in groups["const"].items()}
    # In the order of their paths, which Triton's digest of them depends on.
    attrs = dict(sorted((_path(text), value) for text, value in groups["attr"].items()))
    return ASTSource(jit, groups["sig"], constants, attrs), groups["opt"]


def split(variants: Mapping[str, Variant]) -> tuple[Variant, dict[str, Variant]]:
    """What all variants have in common, and the rest of each. The order of names is kept."""
    if not variants:
        return {}, {}
    first, *others = variants.values()
    common = {
        name: value
        for name, value in first.items()
        if all(name in other and _same(other[name], value) for other in others)
    }
    each = {
        candidate: {name: value for name, value in variant.items() if name not in common}
        for candidate, variant in variants.items()
    }
    return common, each


def join(jit: Any, common: Variant, rest: Variant) -> Variant:
    """A variant from its two parts, its signature in the order of the kernel's parameters."""
    whole = {**common, **rest}
    names = [f"sig.{name}" for name in jit.arg_names]
    if not set(names) <= whole.keys():
        raise ValueError("the kernel has other parameters")
    return {**{name: whole[name] for name in names}, **whole}


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and json.dumps(one) == json.dumps(other)


def _plain(name: str, value: Any) -> Any:
    """An option of the compiler. None that names files: what is in a store must not choose code."""
    if name in _FILES or not (value is None or type(value) in (bool, int, str)):
        raise Unencodable(value)
    return value


def _path(text: str) -> tuple[int, ...]:
    path = json.loads(text)
    if not isinstance(path, list) or not all(type(part) is int for part in path):
        raise ValueError(f"no path: {text}")
    return tuple(path)


def _encode(value: Any) -> Any:
    """Plain values as they are; what JSON would change is a list with a word in front."""
    if value is None or isinstance(value, (bool, int, str)):
        if isinstance(value, int) and type(value) not in (bool, int):
            raise Unencodable(value)
        return value
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, tuple):
        return ["tuple", *map(_encode, value)]
    if isinstance(value, list):
        return ["list", *map(_encode, value)]
    kind = type(value)
    if kind.__module__.startswith("triton."):
        if kind.__name__ == "dtype":
            return ["dtype", str(value)]
        if kind.__name__ == "constexpr":
            return ["constexpr", _encode(value.value)]
        if kind.__name__ == "JITFunction":
            return ["kernel", value.fn.__module__, value.fn.__qualname__]
    raise Unencodable(value)


def _decode(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    what, *rest = value
    if what == "float":
        return float.fromhex(rest[0])
    if what in ("tuple", "list"):
        inner = map(_decode, rest)
        return tuple(inner) if what == "tuple" else list(inner)
    language = importlib.import_module("triton.language")
    if what == "dtype":
        return language.dtype(rest[0])
    if what == "constexpr":
        return language.constexpr(_decode(rest[0]))
    if what == "kernel":
        kernel = find(*rest)
        if type(kernel).__name__ != "JITFunction":
            raise ValueError(f"{rest} is no kernel")
        return kernel
    raise ValueError(f"a variant holds {what!r}")


def find(module: str, qualname: str) -> Any:
    """What is under this name in a module that is loaded already. Raises ValueError."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    if found is None:
        raise ValueError(f"{module}:{qualname} is not loaded")
    return found
