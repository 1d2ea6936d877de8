"""A store's address, as it is shown: without a password, and otherwise whole."""

from __future__ import annotations

import pytest

from tuneonce.addresses import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/srv/tuneonce", "/srv/tuneonce"),
        ("/srv/team@site/x", "/srv/team@site/x"),
        ("/srv/odd://team@site", "/srv/odd://team@site"),
        ("memory:", "memory:"),
        ("file:///srv/team@site/x?readonly=1", "file:///srv/team@site/x?readonly=1"),
        ("file://localhost/srv/team@site", "file://localhost/srv/team@site"),
        ("s3://bucket/team@site/x", "s3://bucket/team@site/x"),
        ("s3://bucket/x?owner=a@b#c@d", "s3://bucket/x?owner=a@b#c@d"),
        ("redis://host:6379/0@x", "redis://host:6379/0@x"),
        ("redis://user:secret@host:6379/0", "redis://host:6379/0"),
        ("redis://user:secret@host/team@site", "redis://host/team@site"),
        ("redis://:sec@ret@host/0", "redis://host/0"),
        ("redis://secret@host", "redis://host"),
        ("redis://user:sec/ret@host/0", "redis://host/0"),
        ("redis:user:secret@host/0", "redis:host/0"),
        ("rediss:/user:sec@ret@host/0", "rediss:host/0"),
        ("file:/srv/team@site", "file:/srv/team@site"),
    ],
)
def test_without_a_password_and_otherwise_whole(url: str, shown: str) -> None:
    assert without_password(url) == shown
