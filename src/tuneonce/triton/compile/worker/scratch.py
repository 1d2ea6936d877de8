"""Directories for a process's own temporary files, which the next process sweeps if it was killed.

Their names say whose they are: the namespace of process numbers, the number, and when that process
was started, since numbers come again. Loaded by the compile helper by path; imports nothing of
ours.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

_NAME = re.compile(r"tuneonce-(?:compile|ahead)-(\d+)-(\d+)-(\d+)-[A-Za-z0-9_]{8}")


def make(kind):
    """A new private directory; `kind` is ``compile`` or ``ahead``. Raises OSError."""
    pid = os.getpid()
    return tempfile.mkdtemp(prefix=f"tuneonce-{kind}-{_namespace()}-{pid}-{_started(pid)}-")


def remove(directory):
    """Remove it and all that is in it, as far as that is possible."""
    shutil.rmtree(directory, ignore_errors=True)


def sweep():
    """Remove this user's directories whose processes are gone. Raises nothing."""
    try:
        place, mine = tempfile.gettempdir(), _namespace()
        with os.scandir(place) as entries:
            found = [(entry.path, _NAME.fullmatch(entry.name)) for entry in entries]
        for path, name in found:
            if name is not None and name[1] == mine and _started(name[2]) != name[3]:
                status = os.lstat(path)
                if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                    remove(path)
    except OSError:
        return


def _namespace():
    """Where process numbers mean something; 0 where that is not known."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _started(pid):
    """When a process was started, in ticks since boot; 0 if there is none."""
    try:
        told = Path(f"/proc/{pid}/stat").read_bytes()
        return told.rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError, ValueError):
        return "0"
