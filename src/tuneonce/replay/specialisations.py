"""What a kernel will be asked for next: specialisations that its arguments had, but not together.

Triton compiles a kernel anew for a number that is 1, divisible by 16, or neither, and for where a
pointer is aligned to. Sizes of requests come in all of these, so of a kernel that takes two of them
a start meets some pairs, and the next start, whose requests come in other batches, another one: a
variant that no start had, compiled in a request.

Where two recorded variants differ in the specialisations of few arguments and in nothing else,
these arguments *vary*. What is put together here are the other combinations of what they were
specialised for. That is a guess, which costs a compilation where it is wrong: what is made so is a
variant like any other, of this program's kernel, made by Triton.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from ..model.profiles import UsedVariant

# Variants that differ in the specialisations of more arguments are two uses of a kernel, and not
# one use with other sizes. Arbitrary: two sizes, and what is made of them.
_MOST_VARYING = 3

MOST_OF_A_KERNEL = 32
"""So many combinations of a kernel are made ready at most. Arbitrary: of two varying numbers in
three specialisations each, those of a handful of candidates."""

_INTEGER = re.compile(r"[iu](?:16|32|64)")

Specialisation = tuple[Any, ...]
"""What a variant says of one argument: its type, its constant, its attributes. Empty: not asked."""


def combinations(
    entries: Sequence[UsedVariant], names: Sequence[str], annotated: Collection[str]
) -> Iterator[UsedVariant]:
    """What the recorded variants of one kernel do not have, but their arguments had.

    In the order of `entries`. `names` are the kernel's parameters; those that are `annotated` are
    constants, or of a type of their own, and do not vary.
    """
    free = [i for i, name in enumerate(names) if name not in annotated]
    split = [_split(entry, names, free) for entry in entries]
    known = set(split)
    varying = _varying(split)
    if not 0 < len(varying) <= _MOST_VARYING:
        return
    left = MOST_OF_A_KERNEL
    for entry, (rest, had) in zip(entries, split, strict=True):
        for chosen in itertools.product(*varying.values()):
            new = list(had)
            for i, one in zip(varying, chosen, strict=True):
                if _is_of_kind(had[i], one):
                    new[i] = one
            if (rest, tuple(new)) in known:
                continue
            if left == 0:
                return
            left -= 1
            known.add((rest, tuple(new)))
            variant = dict(entry.variant)
            for i in varying:
                _put(variant, free[i], names[free[i]], new[i])
            yield replace(entry, variant=variant, binary="", key="")


def _varying(
    split: Sequence[tuple[str, tuple[Specialisation, ...]]],
) -> dict[int, list[Specialisation]]:
    """By the place of an argument: what it was specialised for where nothing else differed."""
    alike: dict[str, list[tuple[Specialisation, ...]]] = {}
    for rest, had in split:
        alike.setdefault(rest, []).append(had)
    found: dict[int, list[Specialisation]] = {}
    for group in alike.values():
        columns = [list(dict.fromkeys(column)) for column in zip(*group, strict=True)]
        differing = [i for i, column in enumerate(columns) if len(column) > 1]
        if len(differing) > _MOST_VARYING:
            continue
        for i in differing:
            kinds = found.setdefault(i, [])
            kinds += [one for one in columns[i] if one not in kinds]
    return found


def _split(
    entry: UsedVariant, names: Sequence[str], free: Sequence[int]
) -> tuple[str, tuple[Specialisation, ...]]:
    """A variant's specialisations, one for each of `free`, and all else of it."""
    rest = dict(entry.variant)
    had: list[Specialisation] = []
    for i in free:
        parts = _parts(i, names[i])
        one = (
            entry.variant.get(parts[0]),
            entry.variant.get(parts[1]),
            json.dumps(entry.variant.get(parts[2])),
        )
        if _kind(one) is None:
            had.append(())
            continue
        had.append(one)
        for part in parts:
            rest.pop(part, None)
        # What is of another kind is another use.
        rest[parts[0]] = _kind(one)
    return json.dumps([rest, entry.options], sort_keys=True), tuple(had)


def _kind(one: Specialisation) -> str | None:
    """What it is a specialisation of: of an integer, or of a pointer to something; else None."""
    kind, constant, _ = one
    if not isinstance(kind, str):
        return None
    if kind == "constexpr":
        return "integer" if type(constant) is int and constant == 1 else None
    if constant is not None:
        return None
    if kind.startswith("*"):
        return kind
    return "integer" if _INTEGER.fullmatch(kind) else None


def _is_of_kind(one: Specialisation, other: Specialisation) -> bool:
    return one != () and _kind(one) == _kind(other)


def _put(variant: dict[str, Any], place: int, name: str, one: Specialisation) -> None:
    if one == ():
        return
    kind, constant, attributes = one
    signature, const, attr = _parts(place, name)
    variant[signature] = kind
    for part, value in ((const, constant), (attr, json.loads(attributes))):
        if value is None:
            variant.pop(part, None)
        else:
            variant[part] = value


def _parts(place: int, name: str) -> tuple[str, str, str]:
    path = json.dumps([place])
    return f"sig.{name}", f"const.{path}", f"attr.{path}"
