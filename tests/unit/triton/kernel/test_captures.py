"""What a thread of ours tells CUDA before it loads a module."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tuneonce.triton.kernel import captures


def in_a_thread(times: int) -> None:
    def run() -> None:
        for _ in range(times):
            captures.stand_aside()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)


def test_each_thread_says_once_that_it_captures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []

    class Library:
        @staticmethod
        def cuThreadExchangeStreamCaptureMode(mode: Any) -> int:
            modes.append(mode._obj.value)
            return 0

    monkeypatch.setattr(captures, "_library", Library)
    in_a_thread(3)
    in_a_thread(2)
    assert modes == [2, 2]


def test_without_cuda_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "_library", lambda: None)
    in_a_thread(1)
