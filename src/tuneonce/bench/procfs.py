"""Finding the processes of a server, also those that left its process group.

A server's children may start sessions of their own, lose their parent, or overwrite their
environment with a title for ``ps``. So a process belongs to the server if any of these hold: it is
in the session or the process group that the server was started in, its environment carries the
server's mark, it was seen to belong to it before, or its parent belongs to it. Only Linux has
``/proc``; elsewhere nothing is found and the process group is all that can be ended.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple


class Process(NamedTuple):
    """A living process. `started`, in clock ticks since boot, tells it from a later namesake."""

    pid: int
    parent: int
    group: int
    session: int
    started: int


def read(pid: int) -> Process | None:
    """Return the process, or None if it is gone or only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    # The second field is the name in parentheses, which may itself hold blanks and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
    )


def alive(process: Process) -> bool:
    """Whether this very process still lives."""
    now = read(process.pid)
    return now is not None and now.started == process.started


def name(pid: int) -> str:
    """What the process is called, for people; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def members(*, leader: int, mark: str, known: Collection[Process] = ()) -> set[Process]:
    """Return the living processes of the server that `leader` leads; `mark` is ``NAME=value``.

    `known` are those that were found before: they stay members, and what they start meanwhile is
    found even where their own way to the leader is lost.
    """
    before = {process.pid: process.started for process in known}
    living = [process for pid in pids() if (process := read(pid)) is not None]
    entry = mark.encode()
    found = {
        process
        for process in living
        if leader in (process.pid, process.session, process.group)
        or before.get(process.pid) == process.started
        or entry in _environment(process.pid)
    }
    inside = {process.pid for process in found}
    while children := [p for p in living if p.parent in inside and p.pid not in inside]:
        found.update(children)
        inside.update(child.pid for child in children)
    return {process for process in found if process.pid != os.getpid()}


def pids() -> list[int]:
    """The numbers of all processes."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        # Gone meanwhile, or somebody else's.
        return []
