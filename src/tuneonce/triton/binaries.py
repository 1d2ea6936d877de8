"""Where the binaries are that this process had compiled.

Triton looks for them below ``TRITON_CACHE_DIR``, and a program may name another directory while it
starts: vLLM does, after its weights are loaded. What was compiled before that, or was on its way,
is then copied.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger("tuneonce")


class Binaries:
    """Knows in which of Triton's caches each binary was seen, or will be. Thread-safe."""

    def __init__(self) -> None:
        self._places: dict[str, Any] = {}

    def sent(self, key: str) -> None:
        """The binary of this key is being compiled, into the cache as it is now."""
        self._places[key] = _manager(key)

    def found(self, key: str, src: Any) -> bool:
        """Whether Triton finds a binary of `src` under this key; afterwards, if it was moved."""
        name = f"{src.name[:150]}.json"
        here = _manager(key)
        if here.get_group(name):
            self._places[key] = here
            return True
        there = self._places.get(key)
        if there is None or getattr(there, "cache_dir", "") == getattr(here, "cache_dir", ""):
            return False
        try:
            files = there.get_group(name) or {}
            copies = {file: here.put(Path(path).read_bytes(), file) for file, path in files.items()}
            if copies:
                here.put_group(name, copies)
        except Exception:  # it was deleted, the disk is full: then it is compiled once more
            logger.debug("tuneonce: a binary was not copied", exc_info=True)
            return False
        return bool(copies)


def _manager(key: str) -> Any:
    from triton.runtime.cache import get_cache_manager

    return get_cache_manager(key)
