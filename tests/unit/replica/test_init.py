"""Addresses of remotes."""

from __future__ import annotations

import sys
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
        "s3://bucket/?endpoint=http://x",
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


def test_a_password_is_never_shown() -> None:
    pytest.importorskip("redis")
    for url in (
        "redis://user:secret@127.0.0.1:1/0",
        "rediss://:secret@127.0.0.1:1/0?ssl_cert_reqs=none",
        "redis://127.0.0.1:1/0?password=secret&namespace=x",
    ):
        assert "secret" not in open_replica(url).describe().url
    assert "secret" not in refused("redis://:secret@host:port:1/0?db=x")
    assert "secret" not in refused("redis://:secret@[::1/0")
    assert "secret" not in refused("redis://:secret@host/0?no_such_option=1")


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("redis://h/0", "redis", "tuneonce[redis]"), ("s3://b/", "obstore", "tuneonce[s3]")],
)
def test_a_client_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    assert extra in refused(url)
