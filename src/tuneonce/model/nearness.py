"""How far the values are apart that two keys are tuned by.

Values are compared part by part, by their types:

* two numbers of one type and sign: the doublings between them, ``|log2(a / b)|``;
* two tuples or lists of one length: item by item;
* a ``tl.constexpr`` or a scalar of NumPy: by what it holds;
* all else, dtypes, strings, bools, None: equal or different. So are a number and one of another
  type or sign, zero or infinity beside any other number, and a part that only one key has.

Fewer different parts are nearer, whatever the numbers are: a winner for another dtype may not even
fit. Among as many, fewer doublings are nearer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .codec import decode

_PREFIX, _DTYPE = "key.", ".dtype"

# Atoms whose text is itself an encoded value (`triton.kernel.identity.opaque`).
_HOLDERS = ("constexpr", "numpy.")

# What reading foreign data can raise: not JSON, not an encoded value, too large, too deep.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


class Distance(NamedTuple):
    """`different` counts parts that cannot be compared; `doublings` of all others together."""

    different: int
    doublings: float

    def __add__(self, other: tuple[Any, ...]) -> Distance:
        return Distance(self.different + other[0], self.doublings + other[1])


SAME = Distance(0, 0.0)
_DIFFERENT = Distance(1, 0.0)


def values_by_name(parts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parts of a key that Triton tunes by, each value as its canonical text."""
    return {name: text for name, text in parts if name.startswith(_PREFIX)}


def distance(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Distance:
    """How far two keys are apart, by their `values_by_name`. Symmetric; raises nothing."""
    found = SAME
    for name in sorted(ours.keys() | theirs.keys()):  # sums of floats depend on their order
        one, other = ours.get(name), theirs.get(name)
        if one == other:
            continue
        found += _DIFFERENT if one is None or other is None else _between_texts(one, other)
    return found


def number(name: str, text: str) -> float | int | None:
    """The value of a part that is a finite number, but for bools; None for all other parts."""
    if not name.startswith(_PREFIX) or name.endswith(_DTYPE):
        return None
    try:
        return _number(json.loads(text))
    except _UNREADABLE:
        return None


def _number(encoded: Any) -> float | int | None:
    if encoded[0] == "atom" and encoded[1].startswith(_HOLDERS):
        return _number(json.loads(encoded[2]))
    if encoded[0] not in ("int", "float"):
        return None
    value: float | int = decode(encoded)
    return value if encoded[0] == "int" or math.isfinite(value) else None


def _between_texts(one: str, other: str) -> Distance:
    try:
        return _between(json.loads(one), json.loads(other))
    except _UNREADABLE:
        return _DIFFERENT


def _between(one: Any, other: Any) -> Distance:
    if one == other:
        return SAME
    if one[0] != other[0]:
        return _DIFFERENT
    kind = one[0]
    if kind in ("tuple", "list") and len(one) == len(other):
        found = SAME
        for ours, theirs in zip(one[1:], other[1:], strict=True):
            found += _between(ours, theirs)
        return found
    if kind == "atom" and one[1] == other[1] and one[1].startswith(_HOLDERS):
        return _between(json.loads(one[2]), json.loads(other[2]))
    a, b = _number(one), _number(other)
    if a is None or b is None or not a or not b or (a < 0) != (b < 0):
        return _DIFFERENT
    # Of logarithms, because the ratio of two large integers may be no float.
    return Distance(0, abs(math.log2(abs(a)) - math.log2(abs(b))))
