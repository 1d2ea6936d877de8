"""How many compilers there is room for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

from tuneonce.triton.compile import pool
from tuneonce.triton.compile.helper_process import HelperLost
from tuneonce.triton.compile.pool import affordable
from tuneonce.triton.seams import compilers


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch)


def room(
    monkeypatch: pytest.MonkeyPatch,
    *,
    processes: int | None = None,
    memory: int | None = None,
    threads: int = 0,
) -> None:
    monkeypatch.setattr(compilers, "threads_of_a_compiler", lambda: threads)
    monkeypatch.setattr(pool, "room_for_processes", lambda: processes)
    monkeypatch.setattr(pool, "room_for_memory", lambda: memory)


def test_without_limits_there_is_room_for_all() -> None:
    assert affordable(48) == 48


@pytest.mark.parametrize(
    ("processes", "threads", "expected"), [(1000, 0, 48), (100, 0, 22), (20, 0, 2), (100, 8, 4)]
)
def test_processes(
    monkeypatch: pytest.MonkeyPatch, processes: int, threads: int, expected: int
) -> None:
    room(monkeypatch, processes=processes, threads=threads)
    assert affordable(48) == expected


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, memory=4 << 30)
    assert affordable(48) == 6


@pytest.mark.parametrize("limits", [{"processes": 19}, {"processes": 0}, {"memory": 1 << 30}])
def test_no_room_for_two(monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]) -> None:
    room(monkeypatch, **limits)
    with pytest.raises(HelperLost, match="no room"):
        affordable(2)


@pytest.mark.parametrize(
    ("methods", "cores"), [({"disable_multithreading": print}, 7), ({}, 0), (None, 0)]
)
def test_compilers_that_start_threads(
    monkeypatch: pytest.MonkeyPatch, methods: dict[str, Any] | None, cores: int
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    ir = SimpleNamespace(**({} if methods is None else {"context": type("context", (), methods)}))
    monkeypatch.setattr(compilers, "extension", lambda: SimpleNamespace(ir=ir))
    assert compilers.threads_of_a_compiler() == cores
