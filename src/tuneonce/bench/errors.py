"""What ends a benchmark."""

from __future__ import annotations

from ..errors import TuneonceError


class BenchError(TuneonceError):
    """The server under test did not start, is not the one that answers, or could not be ended.

    Says what to look at.
    """
