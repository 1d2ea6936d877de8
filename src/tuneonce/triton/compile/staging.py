"""Binaries that were compiled aside, and put into Triton's cache when a launch needs them.

What is compiled because a record says so must not be found by anybody until this program has
generated the same code for a launch of its own: Triton's keys are digests of texts, and a record
can be made that has the key of one variant and the code of another. The same goes for a cache
manager of the program's, which no helper has.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from pathlib import Path
from typing import Any

from ..seams import caches, sources
from .shipment import Shipment
from .worker import scratch
from .worker.frames import encode

# Of a job, what is not about the binary; the environment as far as compilers read it.
_NOT_COMPILED = ("directory", "environment", "staging")
_MOST_BYTES = 64 << 20


class Staging:
    """A private directory of this process, made when it is first needed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._root: str | None = None

    def place(self) -> str:
        """A new directory for one job. Raises OSError."""
        with self._lock:
            if self._root is None:
                self._root = scratch.make("ahead")
        return f"{self._root}/{next(self._numbers)}"

    def close(self) -> None:
        """Remove all that was not needed."""
        with self._lock:
            root, self._root = self._root, None
        if root is not None:
            scratch.remove(root)


def likeness(job: dict[str, Any]) -> str:
    """Equal for jobs that make the same binary: the code, and what it is compiled with."""
    same = {name: value for name, value in job.items() if name not in _NOT_COMPILED}
    variables = {n: v for n, v in job["environment"].items() if n.startswith(("TRITON", "LLVM"))}
    return hashlib.sha256(encode("job", same, variables)).hexdigest()


def adopt(shipment: Shipment, directory: str) -> None:
    """Put a binary into Triton's cache as Triton's compiler would. Raises OSError."""
    metadata = caches.metadata_name(sources.name_of(shipment.src))
    try:
        [place] = Path(directory).iterdir()
        caches.put(shipment.hash, metadata, caches.files_of(metadata, place, _content))
    except (ValueError, LookupError, TypeError) as error:
        raise OSError(f"no binary in {directory}") from error
    scratch.remove(directory)


def _content(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise OSError("a file of a binary is too large")
    return data
