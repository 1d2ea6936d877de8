"""Threads of ours: none where the program needs those that are left."""

from __future__ import annotations

import threading

import pytest

from tuneonce.system import threads
from tuneonce.system.threads import BoundedCalls, start_thread


def test_a_thread_runs_and_keeps_nobody_alive() -> None:
    said = threading.Event()
    thread = start_thread(said.set, name="tuneonce-test")
    thread.join(30.0)
    assert said.is_set()
    assert (thread.daemon, thread.name) == (True, "tuneonce-test")


@pytest.mark.parametrize(("room", "own"), [(None, True), (12, True), (11, False), (0, False)])
def test_the_last_ones_are_left_to_the_program(
    room: int | None, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that is given none ends its process."""
    monkeypatch.setattr(threads, "room_for_processes", lambda: room)
    here = threading.get_ident()
    assert (BoundedCalls()(threading.get_ident, 30.0) != here) is own
    if not own:
        with pytest.raises(RuntimeError, match=f"only {room} more"):
            start_thread(lambda: None, name="tuneonce-test")
