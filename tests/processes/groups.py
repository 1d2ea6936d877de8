"""Process groups, as /proc shows them, and their end."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

# Only a test that would fail waits this long.
TOO_LONG = 60.0


def group(leader: int) -> dict[int, str]:
    """The processes of a group that have not ended, with their commands."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            head, _, rest = (path / "stat").read_text().rpartition(")")
        except OSError:
            continue
        state, _, process_group, *_ = rest.split()
        if int(process_group) == leader and state not in "ZX":
            found[int(path.name)] = head.partition("(")[2]
    return found


def await_end_of(leader: int) -> None:
    """Wait until nothing of a group is left; each of its processes tells when it ends."""
    deadline = time.monotonic() + TOO_LONG
    while left := group(leader):
        for pid in left:
            try:
                watched = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                select.select([watched], [], [], max(0.0, deadline - time.monotonic()))
            finally:
                os.close(watched)
        assert time.monotonic() < deadline, left
