"""``TUNEONCE_LOG``: what the logger ``tuneonce`` shows in a program that configures no logging.

Many programs show no messages at INFO. The handler that is set here writes a message only while no
other handler gets it: once the program has one of its own, ours is silent.
"""

from __future__ import annotations

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(message)s"

logger = logging.getLogger("tuneonce")


class Handler(logging.Handler):
    """Writes to what standard error is at the moment, unless another handler gets the message."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr
        if stream is None or _has_others(self):
            return
        try:
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:
            self.handleError(record)


def configure(level: str) -> None:
    """Show messages of `level` ("debug", ...) and above. A second call changes the level."""
    logger.setLevel(level.upper())
    if not any(isinstance(one, Handler) for one in logger.handlers):
        handler = Handler()
        handler.setFormatter(logging.Formatter(FORMAT))
        logger.addHandler(handler)


def _has_others(ours: logging.Handler) -> bool:
    """Whether what `logger` says reaches a handler besides `ours`."""
    one: logging.Logger | None = logger
    while one is not None:
        if any(handler is not ours for handler in one.handlers):
            return True
        one = one.parent if one.propagate else None
    return False
