"""Addresses of remotes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneonce.errors import SettingsError
from tuneonce.replica import open_replica


def refused(url: str) -> str:
    with pytest.raises(SettingsError) as raised:
        open_replica(url)
    return str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/shared",
        "memory:",
        "http://host/",
        "file:relative",
        "file://host/shared",
        "file:///",
        "file:///shared?prefix=1",
        "file:///shared?namespace=a/b",
        "file:///shared?namespace=",
        "file:///shared?namespace=.a",
        "file:///shared?readonly=perhaps",
        "file:///shared#part",
    ],
)
def test_an_address_that_means_nothing_is_refused(url: str) -> None:
    assert len(refused(url)) < 250


def test_a_directory_is_one(tmp_path: Path) -> None:
    with open_replica(f"file://{tmp_path}/sh%20ared?namespace=prod&readonly=1") as replica:
        info = replica.describe()
        assert info.url == f"file://{tmp_path}/sh%20ared?namespace=prod&readonly=1"
        assert replica.shelves() == []
    assert not any(tmp_path.iterdir())
