"""How parts of keys, worlds and sizes are written for people.

For display only: nothing is read back, and nothing here raises, because the texts come from records
and events that another program may have written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .codec import decode, render
from .key import Difference, coordinates

# Triton's own short names.
_DTYPES = {
    "bool": "i1",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "float64": "fp64",
    "float8_e4m3fn": "fp8e4nv",
    "float8_e4m3fnuz": "fp8e4b8",
    "float8_e5m2": "fp8e5",
    "float8_e5m2fnuz": "fp8e5b16",
    **{f"int{bits}": f"i{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"u{bits}" for bits in (8, 16, 32, 64)},
}

# Atoms whose text is itself an encoded value (`triton.kernel.identity.opaque`).
_NESTED = ("constexpr", "numpy.", "namedtuple.")

# What reading foreign data can raise: not JSON, not an encoded value, too large, too deep.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)

_BUILD = re.compile(r"-[0-9a-f]{12}$")
_DIGESTS = re.compile(r"kernel\.(source|callee\..*)")


def kernel_label(name: str, module: str | None) -> str:
    """``module:name``, as events name a kernel."""
    return name if module is None else f"{module}:{name}"


def kernel_name(label: str) -> str:
    """The name of a kernel, from its label or from the name itself."""
    return label.rpartition(":")[2]


def value_text(text: str) -> str:
    """The value behind the canonical text of an encoded value; other texts as they are."""
    try:
        return _rendered(json.loads(text))
    except _UNREADABLE:
        return text


def _rendered(encoded: Any) -> str:
    if encoded[0] == "atom" and encoded[1].startswith(_NESTED):
        return value_text(encoded[2])
    return str(render(encoded))


def config_text(config: Iterable[tuple[str, Any]]) -> str:
    """``BLOCK=64 num_warps=4``: a candidate, without the values that are Triton's defaults.

    These are None, and a single CTA.
    """
    words = []
    for name, value in config:
        if value == ["none"] or (name, value) == ("num_ctas", ["int", "1"]):
            continue
        try:
            words.append(f"{name}={_rendered(value)}")
        except _UNREADABLE:
            words.append(f"{name}={value}")
    return " ".join(words)


def tuning(parts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The tuning key by name, for example ``{"n": "64", "x.dtype": "torch.bfloat16"}``."""
    return {
        name.removeprefix("key."): value_text(text)
        for name, text in parts
        if name.startswith("key.")
    }


def tuning_text(key: Mapping[str, str]) -> str:
    """``n=64 x=bf16``; ``-`` for a kernel that tunes by nothing."""
    words = []
    for name, value in key.items():
        owner = name.removesuffix(".dtype")
        if owner == name:
            words.append(f"{name}={value}")
        else:
            plain = value.rpartition(".")[2]
            shown = name if owner in key else owner
            words.append(f"{shown}={_DTYPES.get(plain, plain)}")
    return " ".join(words) or "-"


def world(parts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The world's parts by name, without their prefix."""
    return {n.removeprefix("world."): text for n, text in parts if n.startswith("world.")}


def world_text(parts: Mapping[str, str]) -> str:
    """``NVIDIA H200 · cuda:90 · triton-3.6.0``; the build digest of the compiler is left out."""
    target = f"{parts.get('backend', '?')}:{parts.get('arch', '?')}"
    compiler = _BUILD.sub("", parts.get("compiler", "?"))
    product = parts.get("product", "unknown")
    words = [target, compiler] if product == "unknown" else [product, target, compiler]
    return " · ".join(words)


def programs_range(work_class: str) -> tuple[int, int] | None:
    """The least and the greatest number of programs of a work class; None for ``cxx``."""
    found = coordinates(work_class)
    if found is None:
        return None
    low: int = 4 ** found[0]
    return low, 4 * low - 1


def programs_text(work_class: str) -> str:
    """``16–63 programs``; with the elements that each has, ``1,024–4,095 programs of ~4k``."""
    found, bounds = coordinates(work_class), programs_range(work_class)
    if found is None or bounds is None:
        return "any size"
    share = "" if found[1] is None else f" of {_power_text(found[1])}"
    return f"{bounds[0]:,}–{bounds[1]:,} programs{share}"


def _power_text(power: int) -> str:
    """About four to this power: ``~64``, ``~4k``, ``~1M``."""
    thousands, rest = divmod(power, 5)
    units = ("", "k", "M", "G", "T", "P")
    if thousands >= len(units):
        return f"4^{power}"
    return f"~{4**rest}{units[thousands]}"


def part_name(part: str) -> str:
    """The name of a part as people say it: ``callee.helper``, ``key.n``, ``world.product``."""
    return part.removeprefix("kernel.")


def difference_text(difference: Difference) -> str:
    """``key.n: 64 → 65``, from the record to what was asked for; ``callee.helper differs``."""
    name = part_name(difference.part)
    then, now = difference.theirs, difference.ours
    if then is None:
        return f"{name} is new" + _unless_digest(difference.part, now)
    if now is None:
        return f"{name} is gone" + _unless_digest(difference.part, then)
    if _DIGESTS.fullmatch(difference.part):
        return f"{name} differs"
    if difference.part.startswith("world."):
        return f"{name}: {then} → {now}"
    before, after = _values(then), _values(now)
    # 64 and 64.0, or two close floats, are different keys that may look alike.
    if before == after:
        before, after = _exact(then), _exact(now)
    return f"{name}: {before} → {after}"


def _unless_digest(part: str, text: str | None) -> str:
    if text is None or _DIGESTS.fullmatch(part):
        return ""
    return f": {text if part.startswith('world.') else _values(text)}"


def _values(text: str) -> str:
    """As `value_text`, for a global that has several values, joined by ``|``."""
    whole = value_text(text)
    return whole if whole != text else "|".join(value_text(piece) for piece in text.split("|"))


def _exact(text: str) -> str:
    try:
        return repr(decode(json.loads(text)))
    except _UNREADABLE:
        return text


def natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    """A sort key under which ``n=64`` comes before ``n=128``."""
    return tuple(
        (piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece)
        for piece in re.split(r"([0-9]{1,30})", text)
    )
