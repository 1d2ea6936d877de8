"""Canonical, typed encoding of the values that tuning keys and candidates are made of.

Encoded values are plain JSON data, a list whose first item is a type tag::

    None             ["none"]                 (1, "a")        ["tuple", ["int", "1"], ["str", "a"]]
    True             ["bool", true]           [1]             ["list", ["int", "1"]]
    7                ["int", "7"]             {"a": 1}        ["dict", [["str", "a"], ["int", "1"]]]
    0.5              ["float", "0x1.0...p-1"] {1, 2}          ["set", ["int", "1"], ["int", "2"]]
    "x"              ["str", "x"]             Color.RED       ["enum", "Color", "RED", <its value>]
    b"\\x01"          ["bytes", "01"]          Atom(k, t)      ["atom", k, t]

Guarantees, each held by a property test: values that differ in type or value encode differently
(``1``, ``True``, ``1.0`` and ``"1"`` are four values, ``0.0`` and ``-0.0`` are two); values that
are equal and of one type encode alike, whatever their insertion order, and every NaN is one value;
``decode(encode(v))`` gives back an equal value. Integers are decimal strings and floats are hex
strings because JSON readers disagree about large and small numbers; integers beyond 600 digits are
hexadecimal (``"0x..."``), because Python refuses to print them, and a string with a lone surrogate
is ``["wtf8", <hex>]``, because two of them and the character they would make are one JSON text.

What the standard types do not cover (a torch dtype, a ``tl.constexpr``, a kernel passed as an
argument) is turned into an `Atom` by the caller's `opaque` function. Anything else raises
`Unencodable`: a key that cannot be encoded is not persisted, it is never guessed at.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

Encoded: TypeAlias = list[Any]


class Atom(NamedTuple):
    """A value that is known by a kind and a text only, for example ``("dtype", "torch.int8")``."""

    kind: str
    text: str


class Unencodable(Exception):
    """A value has no canonical encoding. `type_name` is the type that stood in the way."""

    def __init__(self, value: object) -> None:
        self.type_name = f"{type(value).__module__}.{type(value).__qualname__}"
        super().__init__(f"no canonical encoding for a value of type {self.type_name}")


Opaque: TypeAlias = Callable[[object], Atom | None]


def _nothing_opaque(value: object) -> Atom | None:
    return None


# A container that holds itself has no encoding; the bounds turn it into Unencodable, not a crash,
# and one that holds itself twice not into a tree of 2^32 leaves. Arbitrary: real keys nest two or
# three deep and hold a handful of values, a table in a closure a few thousand.
_MAX_DEPTH = 32
_MAX_ITEMS = 100_000

# The least limit that Python can be given for decimal digits is 640.
_MAX_DECIMAL_BITS = 1993  # 600 digits


def encode(value: object, *, opaque: Opaque = _nothing_opaque) -> Encoded:
    """Encode `value`; see the module for the form. Raises `Unencodable`."""
    return _encode(value, opaque, 0, itertools.count())


def _encode(value: object, opaque: Opaque, depth: int, count: Iterator[int]) -> Encoded:
    kind = type(value)
    if value is None:
        return ["none"]
    if kind is bool:
        return ["bool", value]
    if isinstance(value, Atom):
        return ["atom", value.kind, value.text]
    if isinstance(value, int) and kind is int:
        return ["int", str(value) if value.bit_length() <= _MAX_DECIMAL_BITS else hex(value)]
    if isinstance(value, float) and kind is float:
        return ["float", "nan" if math.isnan(value) else value.hex()]
    if isinstance(value, str) and kind is str:
        return ["str", value] if _is_text(value) else ["wtf8", _wtf8(value)]
    if isinstance(value, bytes) and kind is bytes:
        return ["bytes", value.hex()]
    if depth >= _MAX_DEPTH:
        raise Unencodable(value)

    def inner(item: object) -> Encoded:
        if next(count) >= _MAX_ITEMS:
            raise Unencodable(value)
        return _encode(item, opaque, depth + 1, count)

    if isinstance(value, enum.Enum):
        # The value too: a member may be given another one, and combined flags may have no name.
        try:
            return ["enum", kind.__qualname__, value._name_, inner(value._value_)]
        except Unencodable:
            if value._name_ is None:
                raise
            return ["enum", kind.__qualname__, value._name_]
    if isinstance(value, tuple) and kind is tuple:
        return ["tuple", *(inner(item) for item in value)]
    if isinstance(value, list) and kind is list:
        return ["list", *(inner(item) for item in value)]
    if isinstance(value, dict) and kind is dict:
        pairs = [[inner(k), inner(v)] for k, v in value.items()]
        # By the whole pair: a dictionary may have several NaNs as keys.
        return ["dict", *sorted(pairs, key=canonical)]
    if isinstance(value, (set, frozenset)) and kind in (set, frozenset):
        return ["set", *sorted((inner(item) for item in value), key=canonical)]
    try:
        atom = opaque(value)
    except Exception:  # it does strange things when looked at, or holds itself by way of `opaque`
        atom = None
    if atom is None:
        raise Unencodable(value)
    return ["atom", atom.kind, atom.text]


def decode(encoded: Encoded) -> Any:
    """The value behind `encoded`; enums and atoms come back as `Atom`. Raises ValueError."""
    try:
        tag, *rest = encoded
        match tag:
            case "none":
                return None
            case "bool" | "str":
                return rest[0]
            case "int":
                return int(rest[0], 16 if "0x" in rest[0] else 10)
            case "wtf8":
                return bytes.fromhex(rest[0]).decode("utf-8", "surrogatepass")
            case "float":
                return math.nan if rest[0] == "nan" else float.fromhex(rest[0])
            case "bytes":
                return bytes.fromhex(rest[0])
            case "tuple":
                return tuple(decode(item) for item in rest)
            case "list":
                return [decode(item) for item in rest]
            case "dict":
                return {decode(k): decode(v) for k, v in rest}
            case "set":
                return frozenset(decode(item) for item in rest)
            case "enum":
                return Atom("enum", f"{rest[0]}.{rest[1]}")
            case "atom":
                return Atom(rest[0], rest[1])
    except (TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError("not an encoded value") from error
    raise ValueError(f"unknown type tag {tag!r}")


def canonical(encoded: object) -> str:
    """The one JSON text of an encoded value (ASCII, no spaces)."""
    return json.dumps(encoded, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def digest(encoded: object, *, length: int = 64) -> str:
    """SHA-256 of the canonical text, the first `length` hexadecimal digits."""
    return hashlib.sha256(canonical(encoded).encode("ascii")).hexdigest()[:length]


def render(encoded: Encoded) -> str:
    """The value as a person writes it; for display only, different values may look alike.

    Raises nothing: what is not an encoded value is shown as the JSON that it is.
    """
    try:
        value = decode(encoded)
        if isinstance(value, Atom):
            return str(value.text)
        if isinstance(value, float):
            return f"{value:g}"
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    except ValueError:  # from str() too: an integer that has too many digits
        return canonical(encoded)


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _wtf8(value: str) -> str:
    return value.encode("utf-8", "surrogatepass").hex()
