"""The tuning results that a server left behind, and whether the next one left the same.

They are read after the server has ended, from our store or from the files beside Triton's binaries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import TuneonceError
from ..inspect.listing import listing
from ..store import open_store
from ..triton.seams import result_files
from .result import Restart, Run

Winners = dict[str, dict[str, str]]

# Enough of the digest that names an entry of Triton's cache to tell apart one kernel's entries.
_DIGEST_LENGTH = 12


def stored_winners(arm: str, env: Mapping[str, str]) -> Winners | None:
    """The winners by kernel and key that an arm with this environment has stored by now.

    None for an arm that stores none, and where they cannot be read.
    """
    if arm == "tuneonce":
        return _in_store(Path(env["TUNEONCE_STORE"]))
    if arm == "stock-cache":
        return _in_triton_cache(Path(env["TRITON_CACHE_DIR"]))
    return None


def _in_store(directory: Path) -> Winners | None:
    if not directory.is_dir():
        return None
    try:
        entries = listing(open_store(directory)).entries
    except TuneonceError:
        return None
    found: Winners = {}
    for entry in entries:
        if entry.winner is not None:
            # Not by its label, which changes when a second version of the kernel turns up.
            mine = found.setdefault(entry.kernel_id, {})
            key = f"{entry.digest} {entry.work_class}"
            # One key may have verdicts on several lists of candidates; the listing has the oldest
            # first, so the next start's are numbered alike.
            mine[next(k for k in _numbered(key) if k not in mine)] = entry.winner
    return found


def _numbered(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key} #{number}" for number in count(2))


def _in_triton_cache(directory: Path) -> Winners | None:
    if not directory.is_dir():
        return None
    found: Winners = {}
    for path in sorted(directory.glob(f"*/*{result_files.SUFFIX}")):
        try:
            stock_key, timings = result_files.parsed(path.read_bytes())
            # The first of equals, as Triton's own reading of the file has it.
            config, _ = min(timings, key=lambda pair: pair[1])
            key = json.dumps(stock_key)
            text = _config_text(config)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            # Another program's file: whatever is in it, it is no reason to lose a result.
            continue
        kernel = path.name.removesuffix(result_files.SUFFIX)
        found.setdefault(kernel, {})[f"{key} {path.parent.name[:_DIGEST_LENGTH]}"] = text
    return found


def _config_text(config: Mapping[str, Any]) -> str:
    chosen = {**config["kwargs"], **{n: v for n, v in config.items() if n != "kwargs"}}
    return " ".join(f"{name}={value}" for name, value in chosen.items() if value is not None)


def comparisons(document: Restart) -> Iterator[str]:
    """For each arm and repeat in one sentence: how many winners are those of the first run."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in document.runs:
        groups.setdefault((run.arm, run.repeat), []).append(run)
    for (arm, repeat), (first, *later) in groups.items():
        told = [
            f"run {run.run} {_compared(first.winners, run.winners)}"
            for run in later
            if first.winners and run.winners is not None
        ]
        if told:
            of = f" of repeat {repeat}" if document.repeats > 1 else ""
            yield f"{arm}{of}: stored winners that are the same as after run 1: {', '.join(told)}."


def _compared(first: Winners, now: Winners) -> str:
    before = {(kernel, key): text for kernel, by in first.items() for key, text in by.items()}
    after = {(kernel, key): text for kernel, by in now.items() for key, text in by.items()}
    same = sum(after.get(place) == text for place, text in before.items())
    new = len(after.keys() - before.keys())
    return f"{same} of {len(before)}" + (f" (and {new} new)" if new else "")
