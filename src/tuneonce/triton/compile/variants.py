"""A compiled variant as plain data, and back: what Triton specialised a kernel for.

A variant is a flat mapping. Its names say what a value is::

    "sig.x": "*bf16"          the type of an argument
    "const.[3]": 64           a compile-time constant, by its path in Triton's sense
    "attr.[0]": [["tt.divisibility", 16]]
    "opt.num_warps": 8        a compiler option that is not the default

Two variants of one kernel share most of it, which is stored once (`split`).

What comes from a store is data that anybody may have written, and Triton evaluates some of what it
is given. So a grammar stands between (`triton.compile.variant_grammar`), the same for what is
written and what is read: a variant that it does not know is neither kept nor compiled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...model.codec import Unencodable
from ..seams import backends, sources
from . import variant_grammar as grammar

Variant = dict[str, Any]

# The options of a candidate, which it says itself.
TUNED_OPTIONS = ("num_warps", "num_ctas", "num_stages", "maxnreg")
_MOST_NAMES = 1000


def describe(src: Any, options: Mapping[str, Any], backend: Any) -> Variant:
    """The variant that `src` (Triton's source) is. Raises `Unencodable`."""
    variant = describe_source(src)
    usual = backends.usual_options(backend)
    for name, value in options.items():
        if name not in usual or not _same(usual[name], value):
            variant[f"opt.{name}"] = grammar.check_option(name, value)
    return variant


def describe_source(src: Any) -> Variant:
    """What a variant is without its options: types, constants, attributes. Raises `Unencodable`."""
    sides = sources.sides(src)
    variant: Variant = {f"sig.{n}": grammar.encode_type(t) for n, t in sides.signature.items()}
    for path, value in sides.constants.items():
        variant[f"const.{json.dumps(path)}"] = grammar.encode_constant(value)
    for path, value in sides.attrs.items():
        variant[f"attr.{json.dumps(path)}"] = grammar.encode_attributes(value)
    return variant


def rebuild(jit: Any, variant: Variant, config: Any = None) -> tuple[Any, dict[str, Any]]:
    """Triton's source of a variant of `jit`, and its options.

    `config` is the live candidate that it is a variant of, if there is one: then all that is tuned
    comes from there. Raises ValueError for a variant of other parameters (the kernel has changed
    too much) and for what no variant of ours holds.
    """
    groups: dict[str, dict[str, Any]] = {"sig": {}, "const": {}, "attr": {}, "opt": {}}
    if len(variant) > _MOST_NAMES:
        raise ValueError("a variant of too many parts")
    for name, value in variant.items():
        group, _, rest = name.partition(".")
        if group not in groups:
            raise ValueError("a variant holds what no variant holds")
        groups[group][rest] = value
    if list(groups["sig"]) != list(jit.arg_names):
        raise ValueError("the kernel has other parameters")
    signature = {name: grammar.decode_type(text) for name, text in groups["sig"].items()}
    constants = {
        grammar.decode_path(text): grammar.decode_constant(value)
        for text, value in groups["const"].items()
    }
    # In the order of their paths, which Triton's digest of them depends on.
    attrs = dict(
        sorted(
            (grammar.decode_path(text), grammar.decode_attributes(value))
            for text, value in groups["attr"].items()
        )
    )
    try:
        options = {name: grammar.check_option(name, value) for name, value in groups["opt"].items()}
    except Unencodable as error:
        raise ValueError("an option that no variant has") from error
    if config is not None:
        _take_tuned(config, jit, signature, constants, options)
    for path in [*constants, *attrs]:
        if path[0] >= len(jit.arg_names):
            raise ValueError("a path to no parameter")
    return sources.source(jit, signature, constants, attrs), options


def _take_tuned(
    config: Any,
    jit: Any,
    signature: dict[str, Any],
    constants: dict[tuple[int, ...], Any],
    options: dict[str, Any],
) -> None:
    """Put what `config` tunes in the place of what a record says of it."""
    for name in TUNED_OPTIONS:
        options.pop(name, None)
    for name, value in config.all_kwargs().items():
        if name not in jit.arg_names:
            options[name] = value
        elif signature.get(name) == "constexpr":
            constants[(list(jit.arg_names).index(name),)] = value
        else:
            raise ValueError("a candidate tunes what is no constant")


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
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, dict)):
        return json.dumps(one) == json.dumps(other)
    return bool(one == other)
