"""How many cores this process may use, and where the processes of a node share them."""

from __future__ import annotations

import math
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import cgroups
from .paths import make_private_directory


def usable_cpus(*, cgroup: Path = cgroups.MOUNT, own: Path = cgroups.OWN) -> int:
    """The cores of this process's affinity, or fewer if a control group of its has a quota.

    `cgroup` is where control groups are mounted, `own` says which are this process's.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on every system
        count = os.cpu_count() or 1
    for quota in _quotas(cgroup, own):
        count = min(count, math.ceil(quota))
    return max(1, count)


def _quotas(cgroup: Path, own: Path) -> Iterator[float]:
    """Cores' worth of time of every group that this process is in, where that is limited."""
    for group in cgroups.unified(cgroup, own):
        yield from _quota(group / "cpu.max")
    for group in cgroups.controlled("cpu", cgroup, own):
        yield from _quota(group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us")


def _quota(*files: Path) -> Iterator[float]:
    """The limit over its period; nothing where there is none ("max", -1)."""
    try:
        limit, period = map(float, " ".join(file.read_text() for file in files).split())
        if limit > 0 and math.isfinite(limit / period):
            yield limit / period
    except (OSError, ValueError, ZeroDivisionError):
        return


def slots_directory() -> Path | None:
    """A directory for locks that the processes of one user on the same cores share.

    Ranks that are bound to different cores share none. None: there is no such directory.
    """
    return users_directory(f"slots{_bound_to()}")


def users_directory(name: str) -> Path | None:
    """A directory of this user's among the files that last as long as the machine runs, at most.

    None: there is none that is this user's alone.
    """
    try:
        mine = Path(tempfile.gettempdir()) / f"tuneonce-{os.getuid()}"
        inner = mine / name
        make_private_directory(inner)
        # The directory for temporary files is open to every user, who may have taken the name.
        return inner if _is_private(mine) and _is_private(inner) else None
    except OSError:
        return None


def _bound_to() -> str:
    """The cores of this process's affinity, as a mask in hexadecimal; nothing if it has all."""
    try:
        cores = os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return ""
    return "" if len(cores) == os.cpu_count() else f"-{sum(1 << core for core in cores):x}"


def _is_private(path: Path) -> bool:
    found = path.lstat()
    writable_by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not writable_by_others
