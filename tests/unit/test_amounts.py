"""Amounts that people write."""

from __future__ import annotations

import pytest

from tuneonce.amounts import bytes_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GB", 2 << 30),
        ("500MB", 500 << 20),
        (" 1.5 GiB ", 3 << 29),
        ("64k", 64 << 10),
        ("3t", 3 << 40),
        ("0MB", 0),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert bytes_of(text) == expected


@pytest.mark.parametrize(
    "text", ["", "500", "2 B", "GB", "-1GB", "1e3MB", "inf", "2 GB left", "٣GB"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="no size such as 500MB or 2GB"):
        bytes_of(text)
