"""Amounts as people write them in settings and options."""

from __future__ import annotations

import re

_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_BYTES = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([kmgt])(?:i?b)?")


def bytes_of(text: str) -> int:
    """``500MB``, ``1.5 GiB``, ``2g`` in bytes; a kilobyte is 1,024 of them. Raises ValueError.

    A number without a unit is refused: it might be meant in megabytes.
    """
    found = _BYTES.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no size such as 500MB or 2GB")
    return int(float(found[1]) * _UNITS[found[2]])
