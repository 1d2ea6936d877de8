"""Where the documents of the benchmarks go, and the commit that they were made from."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def give(document: Any, out: Path | None) -> None:
    """Write a document to `out`, or print it."""
    if isinstance(document, dict) and "commit" not in document:
        document["commit"] = commit()
    text = json.dumps(document, indent=1)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n")


def save(document: Any, out: Path) -> None:
    """Write a document that grows: whenever this is cut off, `out` holds one that is whole."""
    partial = out.with_name(f"{out.name}.partial")
    give(document, partial)
    partial.replace(out)


def commit() -> str | None:
    """The commit of this checkout, with a ``+`` if files differ from it; None if nobody knows.

    ``TUNEONCE_COMMIT`` says it where the files were carried to another machine.
    """
    if "TUNEONCE_COMMIT" in os.environ:
        return os.environ["TUNEONCE_COMMIT"]
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        return f"{name}+" if _git("status", "--porcelain", "--untracked-files=no") else name
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def vars_of(value: Any) -> Any:
    """A value of `tuneonce.bench` as JSON has it; None for None."""
    import msgspec

    return None if value is None else msgspec.to_builtins(value)
