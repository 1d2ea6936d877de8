"""Where in its life a process is: starting, until it says that it is ready, then serving."""

from __future__ import annotations

import enum

from .system.forks import renew_in_child


class Phase(enum.Enum):
    """What a miss costs depends on it: start-up time, or a user's request."""

    STARTING = "starting"
    """Until `tuneonce.ready()`, and for good in a program that never calls it."""
    SERVING = "serving"
    """From then on."""


class Phases:
    """The phase of this process. A forked child starts anew."""

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        self.now = Phase.STARTING

    def serve(self) -> None:
        """Start-up is over."""
        self.now = Phase.SERVING
