"""The control groups that this process is in, as Linux shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def unified(mount: Path = MOUNT, own: Path = OWN) -> Iterator[Path]:
    """Directories of this process's groups of version 2, the innermost first."""
    group = next((path for number, _, path in _lines(own) if number == "0"), "/")
    yield from _with_parents(mount, group)


def controlled(controller: str, mount: Path = MOUNT, own: Path = OWN) -> Iterator[Path]:
    """The same of version 1, which has a tree for each controller (some have two names)."""
    lines = _lines(own)
    group = next((path for _, names, path in lines if controller in names.split(",")), "/")
    for tree in (controller, f"{controller},{controller}acct"):
        yield from _with_parents(mount / tree, group)


def _lines(own: Path) -> list[list[str]]:
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except (OSError, ValueError):
        return []
    return [line for line in lines if len(line) == 3]


def _with_parents(tree: Path, group: str) -> Iterator[Path]:
    # In a container the mounted tree begins at its own group, whatever the name of that is.
    path = Path(group.lstrip("/"))
    if ".." not in path.parts:  # a group outside of what is mounted
        yield from (tree / part for part in (path, *path.parents) if part != Path())
    yield tree
