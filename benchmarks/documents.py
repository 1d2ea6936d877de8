"""Where the documents of the benchmarks go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def give(document: Any, out: Path | None) -> None:
    """Write a document to `out`, or print it."""
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
