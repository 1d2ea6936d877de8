"""How many more processes, and how much more memory, the system allows here.

This is asked before processes are started: where there is too little room, not only these fail, but
also what the program starts beside them.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from . import cgroups

PROC = Path("/proc")

SPARED = 12
"""Processes and threads that are left to the program where these are limited, for what it starts
and compiles: a compiler that gets none ends its process. Arbitrary."""


def room_for_processes(
    *, cgroup: Path = cgroups.MOUNT, own: Path = cgroups.OWN, proc: Path = PROC
) -> int | None:
    """How many more processes and threads may be started; None: there is no limit.

    By this user (``RLIMIT_NPROC``), and in the control groups of this process (``pids.max``).
    """
    rooms = list(_in_groups("pids", "pids.max", "pids.current", cgroup, own))
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if limit != resource.RLIM_INFINITY and os.getuid() != 0:  # it does not hold for root
        rooms.append(limit - _tasks_of_user(proc))
    return max(0, min(rooms)) if rooms else None


def room_for_memory(*, cgroup: Path = cgroups.MOUNT, own: Path = cgroups.OWN) -> int | None:
    """Bytes that may still be used in this process's control groups; None: there is no limit.

    What the system would give back when it is short (the cache of files) is not counted as used.
    """
    rooms = list(_in_groups("memory", "memory.max", "memory.current", cgroup, own))
    for group in cgroups.controlled("memory", cgroup, own):
        limit = _number(group / "memory.limit_in_bytes")
        used = _number(group / "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < 1 << 60:  # its word for none
            rooms.append(limit - used + _reclaimable(group))
    return max(0, min(rooms)) if rooms else None


def _in_groups(controller: str, limit: str, used: str, cgroup: Path, own: Path) -> Iterator[int]:
    groups = list(cgroups.unified(cgroup, own))
    if controller == "pids":  # whose files have the same names in version 1
        groups += cgroups.controlled(controller, cgroup, own)
    for group in groups:
        most, now = _number(group / limit), _number(group / used)
        if most is not None and now is not None:
            yield most - now + (_reclaimable(group) if controller == "memory" else 0)


def _number(path: Path) -> int | None:
    """What a file of a control group says; None where it is not there or says "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _reclaimable(group: Path) -> int:
    try:
        lines = (group / "memory.stat").read_text().splitlines()
        stat = dict(line.split(" ", 1) for line in lines)
        return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0


def _tasks_of_user(proc: Path) -> int:
    """Threads of all processes of this user that can be seen."""
    user, tasks = os.getuid(), 0
    for process in _processes(proc):
        try:
            if process.stat().st_uid == user:
                # After the name, which may hold anything but a closing bracket that is the last.
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                tasks += int(fields[17])
        except (OSError, ValueError, IndexError):  # it has ended
            continue
    return tasks


def _processes(proc: Path) -> Iterator[Path]:
    try:
        yield from (path for path in proc.iterdir() if path.name.isdigit())
    except OSError:
        return
