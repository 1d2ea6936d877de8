"""Constants that are others at every start, such as the number of blocks that fit into memory.

A server computes some of its kernels' constants from what is free: each start then has variants
that no start before had, and a kernel that a request is the first to launch is compiled in that
request. But where another kernel has the same constant and was launched already, its new value is
known: it is what that kernel's variants differ in from those that were recorded. So what is
recorded with the old value of a constant of this name is made ready with the new one.

That is a guess, which costs a compilation where it is wrong: what is made so is a variant like any
other, of this program's kernel, made by Triton.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from ..model.profiles import UsedVariant
from ..triton.compile.variants import Variant

# Two variants of a kernel that differ in more are two uses of it, and not one use that has moved.
# Arbitrary: a size and what is made of it.
_MOST = 4

Moved = dict[tuple[str, int], int]
"""By a parameter's name and its old value: the new value."""


def moved_constants(
    recorded: Sequence[Variant], now: Iterable[Variant], names: Sequence[str]
) -> Moved:
    """Integers that have other values now, by what a kernel had at other starts and has at this.

    `names` are those of the kernel's parameters. What it has had before and has again has not
    moved; nor has a value in whose place there are several now, which are several uses.
    """
    now = list(now)
    new_ones = [one for one in now if not any(_same(one, other) for other in recorded)]
    gone = [one for one in recorded if not any(_same(one, other) for other in now)]
    found: dict[tuple[str, int], set[int]] = {}
    for variant in new_ones:
        differences = (_difference(other, variant) for other in gone)
        near = [one for one in differences if one is not None and 0 < len(one) <= _MOST]
        if near:
            for path, (old, new) in min(near, key=len).items():
                if (name := _parameter(path, names)) is not None:
                    found.setdefault((name, old), set()).add(new)
    return {moved: values.pop() for moved, values in found.items() if len(values) == 1}


def with_moved(entry: UsedVariant, names: Sequence[str], moved: Moved) -> UsedVariant | None:
    """The variant that this start will need in the place of a recorded one; None: that itself."""
    changed = dict(entry.variant)
    for part, value in entry.variant.items():
        name = _parameter(part, names)
        if name is not None and type(value) is int and (name, value) in moved:
            changed[part] = moved[name, value]
    if changed == entry.variant:
        return None
    return replace(entry, variant=changed, binary="", key="")


def _difference(old: Variant, new: Variant) -> Mapping[str, tuple[int, int]] | None:
    """The constants in which two variants differ; None if they differ in anything else."""
    if old.keys() != new.keys():
        return None
    found = {}
    for part, value in old.items():
        other = new[part]
        if type(value) is type(other) and value == other:
            continue
        if not part.startswith("const.") or type(value) is not int or type(other) is not int:
            return None
        found[part] = (value, other)
    return found


def _same(one: Variant, other: Variant) -> bool:
    return json.dumps(one) == json.dumps(other)


def _parameter(part: str, names: Sequence[str]) -> str | None:
    """The parameter whose value a constant is; None for what is no constant, or inside of one."""
    if not part.startswith("const."):
        return None
    path: Any = json.loads(part.removeprefix("const."))
    return names[path[0]] if len(path) == 1 and path[0] < len(names) else None
