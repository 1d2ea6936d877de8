"""When a process looks after the store's limit: once it is ready, or has met all that it meets."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("triton")

from tuneonce.events.log import EventLog
from tuneonce.replay.process import Replay
from tuneonce.replay.warm_up import Warmed
from tuneonce.triton.launch.persistence import Persistence


class Limit:
    """Tells that it was begun."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def begin(self) -> None:
        self.begun.set()


class Warmer:
    """Has nothing to make ready."""

    is_late = False

    def warm(self, *args: Any, **more: Any) -> Warmed:
        return Warmed()


@pytest.fixture
def limit() -> Limit:
    return Limit()


@pytest.fixture
def replay(limit: Limit) -> Any:
    parts: Any = (
        None,
        Warmer(),
        None,
        Persistence(Any, EventLog(None, mode="on", store="")),
        None,
        limit,
    )
    made = Replay(*parts)
    yield made
    made.close()


def test_after_ready(replay: Replay, limit: Limit) -> None:
    assert not limit.begun.is_set()
    replay.serve()
    assert limit.begun.is_set()


def test_in_a_program_that_never_says_so(replay: Replay, limit: Limit) -> None:
    replay._beside.stir()
    assert limit.begun.wait(60)


def test_not_before_a_program_that_will_say_so(replay: Replay, limit: Limit) -> None:
    replay.await_ready()
    replay._beside.stir()
    assert not limit.begun.is_set()
