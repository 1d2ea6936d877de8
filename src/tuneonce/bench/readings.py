"""Figures that servers give of themselves in their logs."""

from __future__ import annotations

import re
from pathlib import Path

# One line from each engine core; with data parallelism perhaps only from the first on a machine.
# Older versions end it with "seconds", newer ones add how much of it was compilation.
_ENGINE_INIT = re.compile(
    rb"init engine \(profile, create kv cache, warmup model\) took ([0-9]+(?:\.[0-9]+)?) s"
)


def engine_init_s(log: Path) -> list[float] | None:
    """How long each engine core of a vLLM took to initialise, in seconds.

    In the order of the log; None if it has no such line.
    """
    try:
        with log.open("rb") as file:
            # By lines: the log of a long run need not fit into memory.
            found = [match[1] for line in file if (match := _ENGINE_INIT.search(line))]
    except OSError:
        return None
    return [float(number) for number in found] or None
