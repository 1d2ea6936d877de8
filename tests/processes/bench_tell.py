"""Being told by another process, over a named pipe."""

from __future__ import annotations

import json
import os
import select
import time
from pathlib import Path
from typing import Any


class Tell:
    """Reads what ``bench_server.py --tell PATH`` says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        # Open for writing as well: so it never ends, and no writer waits for us.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def wait(self, what: str, *, timeout: float = 30.0) -> dict[str, Any]:
        """Return the next event of this name, or fail after `timeout` seconds."""
        seen = len(self.events)
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events[seen:]:
                if event["what"] == what:
                    return event
            seen = len(self.events)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise AssertionError(f"nobody told {what!r}; told was {self.events}")
            self.read()

    def read(self) -> list[dict[str, Any]]:
        """Return all events so far, without waiting."""
        while select.select([self._fd], [], [], 0)[0]:
            self._rest += os.read(self._fd, 65536)
        *lines, self._rest = self._rest.split(b"\n")
        self.events += map(json.loads, lines)
        return self.events

    def close(self) -> None:
        os.close(self._fd)
