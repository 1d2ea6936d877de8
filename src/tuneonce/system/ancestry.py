"""Which process this is, and which it comes from. Process ids come again; these names do not.

A name is ``pid.ticks.namespace``: the process id, when the process was started in the system's own
ticks, and the namespace that its id is of, since the first process of every container is 1.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

# Arbitrary: a worker of a server has four above it, in a container that begins with it.
_MOST = 16


def started_ticks() -> str:
    """When this process was started, in the system's own ticks; ``0`` where nobody says."""
    fields = _stat(os.getpid())
    return "0" if fields is None else fields[19]


def this_process() -> str:
    """The name of this process; its id alone tells it where there is no ``/proc``."""
    return _name(os.getpid(), _stat(os.getpid()), _namespace())


def lineage() -> list[str]:
    """This process, its parent, and so on, as far as that can be seen."""
    namespace, names, pid = _namespace(), list[str](), os.getpid()
    while pid > 0 and len(names) < _MOST:
        fields = _stat(pid)
        names.append(_name(pid, fields, namespace))
        parent = os.getppid() if pid == os.getpid() else 0
        pid = parent if fields is None else int(fields[1])
    return names


def age_s() -> float:
    """Seconds since this process was started; 0 where that cannot be told."""
    fields = _stat(os.getpid())
    if fields is None:
        return 0.0
    try:
        # What its ticks count from, which is not when a container was started.
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return 0.0
    return max(0.0, now - int(fields[19]) / os.sysconf("SC_CLK_TCK"))


def _name(pid: int, fields: list[str] | None, namespace: str) -> str:
    return f"{pid}.{'0' if fields is None else fields[19]}.{namespace}"


def _stat(pid: int) -> list[str] | None:
    """What the system says of a process, from its state on; None if it says nothing."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields if len(fields) > 19 else None


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"
