"""Helpers that tests of several areas share."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass
class Children:
    """Runs scripts in new processes that share one set of directories, empty at first.

    The home, Triton's cache and our store lie below `home`; a second `Children` with another home
    is another machine. The children find the package in `src`, whatever is installed.
    """

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def triton_cache(self) -> Path:
        return self.home / "triton"

    def run(self, script: Path | str, *args: str, timeout: float = 280, **environment: str) -> Any:
        """The JSON document that the script printed last, on one line or over several.

        `script` is a file, or the text of one (Triton wants the source of its kernels in a file).
        Fails with what the child wrote to standard error.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        if isinstance(script, str):
            path = self.home / "script.py"
            path.write_text(textwrap.dedent(script))
        else:
            path = script
        env = {
            **os.environ,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "TRITON_CACHE_DIR": str(self.triton_cache),
            "TUNEONCE_STORE": str(self.store),
            "PYTHONPATH": str(ROOT / "src"),
            **self.environment,
            **environment,
        }
        done = subprocess.run(
            [sys.executable, str(path), *args],
            env=env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-4000:]}"
        return last_json(done.stdout)


def last_json(text: str) -> Any:
    """The last JSON document in `text` that starts a line, and ends the text."""
    lines = text.splitlines()
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].startswith(("{", "[")):
            with contextlib.suppress(json.JSONDecodeError):
                return json.loads("\n".join(lines[start:]))
    raise AssertionError(f"no JSON at the end of:\n{text[-2000:]}")


@contextlib.contextmanager
def compile_log() -> Iterator[list[tuple[str, bool]]]:
    """Every compilation in this process as (kernel, came from Triton's disk cache)."""
    from triton import knobs

    log: list[tuple[str, bool]] = []
    before = knobs.compilation.listener

    def listener(*, src: Any, cache_hit: bool, **others: Any) -> None:
        log.append((src.name, cache_hit))
        if before is not None:
            before(src=src, cache_hit=cache_hit, **others)

    knobs.compilation.listener = listener
    try:
        yield log
    finally:
        knobs.compilation.listener = before
