"""Finding the processes of a server, also those that left its process group.

A server's children may start sessions of their own, lose their parent, or overwrite their
environment with a title for ``ps``. So a process belongs to the server if any of these hold: it is
in the session or the process group that the server was started in, its environment carries the
server's mark, it was seen to belong to it before, or its parent belongs to it.

psutil lists the processes and tells one from a later namesake. It does not tell sessions and
groups, and an environment of which a title has overwritten a part ends there for it: these are
asked of the system.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import psutil

_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def find(pid: int) -> psutil.Process | None:
    """Return the process, or None if it is gone or only waits to be reaped."""
    try:
        process = psutil.Process(pid)
        return process if process.status() not in _ENDED else None
    except psutil.Error:
        return None


def alive(process: psutil.Process) -> bool:
    """Whether this very process still lives."""
    return find(process.pid) == process


def name(process: psutil.Process) -> str:
    """What the process is called, for people; empty if it is gone."""
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def living() -> list[psutil.Process]:
    """All processes that live.

    Not by `psutil.process_iter`, which may take a process for an earlier one of the same number.
    """
    return [process for pid in psutil.pids() if (process := find(pid)) is not None]


def in_group(process: psutil.Process, group: int) -> bool:
    """Whether the process is in this process group."""
    try:
        return os.getpgid(process.pid) == group
    except OSError:
        return False


def members(
    *, leader: int, mark: str, known: Collection[psutil.Process] = ()
) -> set[psutil.Process]:
    """Return the living processes of the server that `leader` leads; `mark` is ``NAME=value``.

    `known` are those that were found before: they stay members, and what they start meanwhile is
    found even where their own way to the leader is lost.
    """
    entry = mark.encode()
    parents = {process: _parent(process) for process in living()}
    found = {
        process
        for process in parents
        if process.pid == leader
        or process in known
        or in_group(process, leader)
        or _session(process) == leader
        or entry in _environment(process)
    }
    inside = {process.pid for process in found}
    while children := {p for p, up in parents.items() if up in inside and p.pid not in inside}:
        found |= children
        inside.update(child.pid for child in children)
    return {process for process in found if process.pid != os.getpid()}


def _parent(process: psutil.Process) -> int | None:
    try:
        return int(process.ppid())
    except psutil.Error:
        return None


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _environment(process: psutil.Process) -> list[bytes]:
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    except OSError:
        # Gone meanwhile, another user's, or not told by this system.
        return []
