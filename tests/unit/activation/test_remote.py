"""Which processes have a link to what machines share, and what it tells."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import RememberedEvents
from tuneonce.activation.remote import build_link
from tuneonce.replica.wishes import Said
from tuneonce.settings import Settings, read

REMOTE = "redis://user:secret@127.0.0.1:1/0?namespace=x"


def settings(home: Path, **variables: str) -> Settings:
    environ = {"TUNEONCE_STORE": str(home / "store"), "TUNEONCE_REMOTE": REMOTE, "HOME": str(home)}
    return read({**environ, **variables})


@pytest.mark.parametrize(
    "variables",
    [{"TUNEONCE_REMOTE": ""}, {"TUNEONCE_DETERMINISTIC": "1"}, {"TUNEONCE_STORE": "memory:"}],
    ids=lambda one: next(iter(one)),
)
def test_who_has_none(
    tmp_path: Path, variables: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    events: Any = RememberedEvents()
    assert build_link(settings(tmp_path, **variables), {}, None, events) is None
    # It is said where it was asked for and cannot be.
    assert len(caplog.records) == ("TUNEONCE_STORE" in variables)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("said", "event", "level"),
    [
        (Said("pulled", records=3), ("remote", "pulled"), logging.INFO),
        (Said("pulled", "a-shelf", records=3), None, None),
        (Said("pulled"), None, None),
        (Said("pushed", records=3), ("remote", "pushed"), logging.INFO),
        (Said("note", message="one"), ("problem", "remote"), logging.WARNING),
        (Said("failed", message="down"), ("problem", "remote_failed"), logging.WARNING),
        (Said("finished", "1"), None, None),
    ],
    ids=lambda one: one.what if isinstance(one, Said) else "",
)
def test_what_it_tells(
    tmp_path: Path, said: Said, event: Any, level: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tuneonce")
    events: Any = RememberedEvents()
    link = build_link(settings(tmp_path), {}, None, events)
    assert link is not None
    link._tell(said)
    told = [(one["e"], one["what"]) for one in events.seen]
    assert told == ([] if event is None else [event])
    assert [one.levelno for one in caplog.records] == ([] if level is None else [level])
    assert "secret" not in caplog.text + str(events.seen)
