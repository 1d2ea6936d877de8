"""`TUNEONCE_LOG`."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator

import pytest

from tuneonce.activation import logs
from tuneonce.settings import complaints, read


@contextlib.contextmanager
def alone() -> Iterator[logging.Logger]:
    """The logger as in a program that configures no logging; pytest's own handlers are away."""
    found = logging.getLogger("tuneonce")
    before = (found.handlers, found.level, logging.root.handlers)
    found.handlers, logging.root.handlers = [], []
    try:
        yield found
    finally:
        found.handlers, logging.root.handlers = before[0], before[2]
        found.setLevel(before[1])


def test_messages_of_the_level_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with alone() as logger:
        logs.configure("info")
        logs.configure("info")
        logger.info("tuneonce: on")
        logger.debug("tuneonce: too much")
        assert said.getvalue().count("\n") == 1
        assert said.getvalue().endswith(" INFO tuneonce: on\n")
        logs.configure("error")
        logger.warning("tuneonce: less")
        logs.configure("debug")
        logger.debug("tuneonce: more")
        assert said.getvalue().count("\n") == 2
        monkeypatch.setattr(sys, "stderr", None)
        logger.info("tuneonce: to nobody")


@pytest.mark.parametrize("whose", ["tuneonce", None])
def test_who_has_a_handler_gets_each_message_once(
    monkeypatch: pytest.MonkeyPatch, whose: str | None
) -> None:
    ours, theirs = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", ours)
    with alone() as logger:
        logs.configure("info")
        handler = logging.StreamHandler(theirs)
        logging.getLogger(whose).addHandler(handler)
        logger.info("tuneonce: on")
        assert (ours.getvalue(), theirs.getvalue()) == ("", "tuneonce: on\n")
        logging.getLogger(whose).removeHandler(handler)
        logger.info("tuneonce: again")
        assert "again" in ours.getvalue()


@pytest.mark.parametrize(
    ("word", "level"),
    [("info", "info"), (" DEBUG ", "debug"), ("", None), ("loud", None), ("10", None)],
)
def test_words(word: str, level: str | None) -> None:
    environ = {"TUNEONCE_LOG": word}
    assert read(environ).log == level
    told = complaints(environ)
    assert len(told) == (word in ("loud", "10"))
    assert all(repr(word) in one and "debug, info" in one for one in told)
