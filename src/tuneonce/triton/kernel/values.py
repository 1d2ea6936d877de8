"""Values of classes that build on Python's own, as keys and candidates hold them.

Each is encoded with the name of its class, what it is built on, and all that it holds besides, so
that two values which differ in any of these never meet. A value whose state cannot be had in whole
has no encoding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ...model.codec import Atom, Encoded, canonical

Inner = Callable[[Any], Encoded]

# What is written as text by their own class, which says all.
_TORCHS = ("device", "layout", "memory_format")
# Past what a subclass has overridden.
_PLAIN: dict[type, Callable[[Any], Any]] = {
    int: int.__index__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
}


def built_on(value: Any, inner: Inner) -> Atom | None:
    """An atom for a subclass of a plain type, a frozen dataclass or a device; else None.

    `inner` encodes what it holds. Raises what that raises.
    """
    kind = type(value)
    if kind.__module__ == "torch" and kind.__name__ in _TORCHS:
        return Atom(f"torch.{kind.__name__}", str(value))
    for plain, take in _PLAIN.items():
        if isinstance(value, plain) and kind is not plain:
            base = [inner(take(value)), inner(_state(value))]
            return Atom(f"{plain.__name__}.{kind.__qualname__}", canonical(base))
    parameters = getattr(kind, "__dataclass_params__", None)
    if dataclasses.is_dataclass(kind) and getattr(parameters, "frozen", False):
        return Atom(f"dataclass.{kind.__qualname__}", canonical(inner(_state(value))))
    return None


def _state(value: Any) -> dict[str, Any]:
    """What an object holds in its dictionary and its slots."""
    state = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                state[name] = getattr(value, name)
    return state
