"""What a process begins by itself, where it may not."""

from __future__ import annotations

import threading

import pytest

from tuneonce.replay.process import Replay


def test_where_no_thread_can_be_started_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error here would leave all of tuneonce off."""
    tried = []

    def start(thread: threading.Thread) -> None:
        tried.append(thread.name)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    replay = object.__new__(Replay)
    replay._recorder = object()  # type: ignore[assignment]
    replay.begin()
    assert tried == ["tuneonce-early"]
