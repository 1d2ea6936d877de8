"""What a kernel will be asked for next: specialisations that no start has met.

Triton compiles a kernel anew for a number that is 1, divisible by 16, or neither, and for where a
pointer is aligned to. Sizes of requests come in all of these, and which of them a start meets is
chance: sixteen requests at once, or fifteen. So a start that has everything ready which earlier
ones launched may still be asked for a variant that none had, and would compile it in a request.

Which arguments are sizes of requests is not recorded, since a launch tells nothing of its values.
Taken for such are those in which recorded variants differ that are equal in all else; numbers that
were once neither 1 nor divisible by 16, as dimensions of a model and strides hardly are; and of
kernels with few numbers each. What is made for them is a guess, which costs a compilation where it
is wrong: it is a variant like any other, of this program's kernel, made by Triton.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from ..model.profiles import UsedVariant

# With more arguments that vary, what would have to be compiled is several times what was used; and
# variants that differ in more are two uses of a kernel. Arbitrary: two sizes and what is made of
# them.
_MOST_VARYING = 3

MOST_OF_A_KERNEL = 16
"""So many guesses are made of a kernel at most. Arbitrary: of two numbers, those of a handful of
candidates."""

_INTEGER = re.compile(r"[iu](?:16|32|64)")


class _Specialisation(NamedTuple):
    """What a variant says of one argument: its type, its constant, its attributes as JSON."""

    kind: str
    constant: Any
    attributes: str


_ALIGNED_ATTRIBUTES, _NO_ATTRIBUTES = '[["tt.divisibility", 16]]', "[]"
_ONE = _Specialisation("constexpr", 1, _NO_ATTRIBUTES)

_Had = tuple[_Specialisation | None, ...]
"""One for each argument that may vary; None where it is neither a number nor a pointer."""


def guesses(
    entries: Sequence[UsedVariant], names: Sequence[str], free: Collection[str]
) -> list[tuple[int, UsedVariant]]:
    """What no recorded variant of one kernel is, and a launch may ask for, likely ones first.

    Each with how far it is from a recorded one: the arguments in which it differs, and once more
    for each that would be 1 and never was. `names` are the kernel's parameters; those in `free` are
    specialised by their values.
    """
    places = [i for i, name in enumerate(names) if name in free]
    split = [_split(entry, names, places) for entry in entries]
    varying = _varying(split)
    known = set(split)
    found: list[tuple[int, UsedVariant]] = []
    for entry, (rest, had) in zip(entries, split, strict=True):
        for chosen in itertools.product(*varying.values()):
            new = list(had)
            for i, one in zip(varying, chosen, strict=True):
                if _what(had[i]) == _what(one):
                    new[i] = one
            if (rest, tuple(new)) in known:
                continue
            known.add((rest, tuple(new)))
            variant = dict(entry.variant)
            for i in varying:
                _put(variant, places[i], names[places[i]], new[i])
            changed = [i for i in varying if new[i] != had[i]]
            rare = [
                i for i in changed if new[i] == _ONE and not any(h[i] == _ONE for _, h in split)
            ]
            guess = replace(entry, variant=variant, binary="", key="")
            found.append((len(changed) + len(rare), guess))
    found.sort(key=lambda guess: guess[0])
    return found[:MOST_OF_A_KERNEL]


def _varying(split: Sequence[tuple[str, _Had]]) -> dict[int, list[_Specialisation]]:
    """By the place of an argument that varies: what it may be specialised for."""
    columns = [
        list(dict.fromkeys(filter(None, c))) for c in zip(*(had for _, had in split), strict=True)
    ]
    numbers = [i for i, column in enumerate(columns) if any(map(_is_number, column))]
    differing = _differing(split)
    odd = {i for i in numbers if any(map(_is_odd, columns[i]))}
    few = set(numbers if len(numbers) <= _MOST_VARYING else ())
    # The widest choice that is not too wide.
    for chosen in (differing | odd | few, differing | odd, odd, differing):
        if len(chosen) <= _MOST_VARYING:
            return {
                i: list(dict.fromkeys([*columns[i], *_others(columns[i])])) for i in sorted(chosen)
            }
    return {}


def _differing(split: Sequence[tuple[str, _Had]]) -> set[int]:
    """In which arguments variants differ that differ in few of them and in nothing else."""
    alike: dict[str, list[_Had]] = {}
    for rest, had in split:
        alike.setdefault(rest, []).append(had)
    found: set[int] = set()
    for group in alike.values():
        differing = {i for i, column in enumerate(zip(*group, strict=True)) if len(set(column)) > 1}
        if len(differing) <= _MOST_VARYING:
            found |= differing
    return found


def _others(column: Sequence[_Specialisation]) -> list[_Specialisation]:
    """All that a number may be specialised for, of a type that it had."""
    kinds = [one.kind for one in column if _is_number(one) and one != _ONE]
    if not kinds:
        return []
    attributes = (_NO_ATTRIBUTES, _ALIGNED_ATTRIBUTES)
    return [*(_Specialisation(kinds[0], None, one) for one in attributes), _ONE]


def _split(entry: UsedVariant, names: Sequence[str], places: Sequence[int]) -> tuple[str, _Had]:
    """All of a variant but the specialisations of its arguments, and these."""
    rest = dict(entry.variant)
    had: list[_Specialisation | None] = []
    for i in places:
        signature, constant, attributes = _parts(i, names[i])
        one = _Specialisation(
            entry.variant.get(signature, ""),
            entry.variant.get(constant),
            json.dumps(entry.variant.get(attributes) or []),
        )
        what = _what(one)
        had.append(None if what is None else one)
        if what is not None:
            for part in (constant, attributes):
                rest.pop(part, None)
            rest[signature] = what
    return json.dumps([rest, entry.options], sort_keys=True), tuple(had)


def _what(one: _Specialisation | None) -> str | None:
    """What is specialised: a number, or a pointer to something; None: neither."""
    if one is None or not isinstance(one.kind, str):
        return None
    if one.kind == "constexpr":
        return "number" if type(one.constant) is int and one.constant == 1 else None
    if one.constant is not None:
        return None
    if one.kind.startswith("*"):
        return one.kind
    return "number" if _INTEGER.fullmatch(one.kind) else None


def _is_number(one: _Specialisation) -> bool:
    return _what(one) == "number"


def _is_odd(one: _Specialisation) -> bool:
    return _is_number(one) and one != _ONE and "tt.divisibility" not in one.attributes


def _put(variant: dict[str, Any], place: int, name: str, one: _Specialisation | None) -> None:
    if one is None:
        return
    signature, constant, attributes = _parts(place, name)
    variant[signature] = one.kind
    variant.pop(constant, None)
    if one.constant is not None:
        variant[constant] = one.constant
    variant[attributes] = json.loads(one.attributes)


def _parts(place: int, name: str) -> tuple[str, str, str]:
    path = json.dumps([place])
    return f"sig.{name}", f"const.{path}", f"attr.{path}"
