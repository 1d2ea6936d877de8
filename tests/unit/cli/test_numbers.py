from __future__ import annotations

from collections.abc import Callable

import pytest

from tuneonce.cli._numbers import above_zero, not_negative, port, positive


@pytest.mark.parametrize(
    ("take", "text", "number"),
    [
        (positive, "1", 1),
        (positive, "10000000000", 10**10),
        (not_negative, "0", 0.0),
        (not_negative, "1e-3", 0.001),
        (above_zero, "0.5", 0.5),
        (port, "0", 0),
        (port, "65535", 65535),
    ],
)
def test_numbers(take: Callable[[str], float], text: str, number: float) -> None:
    assert take(text) == number


@pytest.mark.parametrize(
    ("take", "texts"),
    [
        (positive, ["0", "-1", "1.5", "", "many", "²", "inf"]),
        (not_negative, ["-1", "-0.1", "inf", "nan", "", "much"]),
        (above_zero, ["0", "0.0", "-1", "inf", "nan"]),
        (port, ["-1", "65536", "http", ""]),
    ],
)
def test_what_is_no_such_number(take: Callable[[str], float], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ValueError, match=r".*"):
            take(text)
