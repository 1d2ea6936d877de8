"""Numbers as values of options. Each function is a ``type=`` and raises ValueError."""

from __future__ import annotations


def positive(text: str) -> int:
    """A whole number above zero."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def not_negative(text: str) -> float:
    """A finite number of at least zero."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError
    return number


def above_zero(text: str) -> float:
    """A finite number above zero."""
    number = not_negative(text)
    if number == 0:
        raise ValueError
    return number


def port(text: str) -> int:
    """A TCP port; 0 leaves the choice to us."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError
    return number
