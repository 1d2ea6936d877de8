"""Expected times of a key's candidates, from the verdicts of other keys, GPUs and sources.

The few verdicts that are nearest to the key count. First come verdicts of the same tuning key: in
another world (another GPU or Triton), of another source of the kernel, or at another work class.
Then come verdicts of other tuning keys. Among both, the fewer parts of the key differ, the nearer.
So what is expected of a key does not change while other keys of its kernel are tuned, and its race
asks for the candidates that were compiled ahead for it.

A verdict that is farther away only tells of candidates that the nearest verdicts do not have: these
were never measured there, because they could not win. Of the farther verdicts, those of the same
world and source as the nearest come first. All of this only orders and prunes a race, which finds
out by itself how far it can be trusted (`tuning.expectations`).

A store may hold any number of keys, worlds and sources of one kernel, and looking at all of them
would cost too much. So a few of each are looked into, and which ones these are matters only where a
store holds more. The same tuning key in another world or source is found among any number of keys,
because the name of its folder can be computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from statistics import fmean
from typing import Generic

from ..model.key import UNKNOWN_CLASS, Key, class_distance, compare
from ..model.record_names import ROOT, class_of_verdict, kernel_prefix, parts_digest
from ..model.records import Verdict
from .between_classes import Between
from .relative import C, bounded, complete

# Arbitrary: so many records are read in this world, in others, in other sources, and of the same
# tuning key elsewhere; and so many of them are averaged.
_READ, _ASKED = 24, 3
# Arbitrary: so many folders of keys are looked into in this world, in all other worlds, and in all
# worlds of all other sources, with so many names in each; so many worlds and sources are listed.
_KEYS, _NAMES, _PLACES = 32, 256, 24
# The expected time, relative to the fastest, of a candidate that could not run elsewhere: slower
# than anything that is worth measuring.
_FAILED = 10.0

Children = Callable[[str, int], Iterable[str]]


@dataclass(frozen=True)
class Prior(Generic[C]):
    """What is expected, by candidate; a candidate that no verdict has is in neither mapping.

    `times` are relative to the fastest. `compile_s` are seconds of compiling, from the nearest
    verdict that has them. `between` is what the classes of the very key say, if there are any.
    """

    times: Mapping[C, float] = field(default_factory=dict)
    compile_s: Mapping[C, float] = field(default_factory=dict)
    between: Between[C] | None = None

    def at(self: Prior[str], candidates: Sequence[str]) -> Prior[int]:
        """The same by position in a list of candidates."""

        def listed(values: Mapping[str, float]) -> dict[int, float]:
            return {i: values[digest] for i, digest in enumerate(candidates) if digest in values}

        own = self.between
        if own is None:
            return Prior(listed(self.times), listed(self.compile_s))
        out = frozenset(i for i, digest in enumerate(candidates) if digest in own.ruled_out)
        between = Between(listed(own.times), own.error, own.on_both_sides, out)
        return Prior(listed(self.times), listed(self.compile_s), between)

    def behind(self, nearer: Between[C]) -> Prior[C]:
        """What the key's own classes let expect, and this of all that they do not know."""
        if not nearer.times:
            return self
        return Prior(complete(nearer.times, self.times), self.compile_s, nearer)


def expect(
    key: Key,
    work_class: str,
    candidates: Sequence[str],
    *,
    children: Children,
    read: Callable[[str], Verdict | None],
) -> Prior[str]:
    """What is expected of the candidates, from the verdicts of a store.

    `children(prefix, limit)` lists a level of it, `read(name)` reads a verdict, None where it
    cannot be used.
    """
    read = cache(read)  # some records are read for their key's parts, and then for their times
    places = neighbours(key, work_class, children=children, read=read)
    found = _ask(key, work_class, candidates, places.near, read)
    if not found.times.keys() >= set(candidates):
        far = _ask(key, work_class, candidates, places.far, read)
        found = Prior(complete(found.times, far.times), {**far.compile_s, **found.compile_s})
    return found


@dataclass(frozen=True)
class Neighbours:
    """The names of the verdicts that are likely to be near a key, and of those of other sources."""

    near: Sequence[str] = ()
    far: Sequence[str] = ()


def neighbours(
    key: Key, work_class: str, *, children: Children, read: Callable[[str], Verdict | None]
) -> Neighbours:
    """Where to look for what other keys, worlds and sources of a kernel tell of a key."""
    kernel = f"{ROOT}{key.kernel.directory}/"
    world = key.directory.rpartition("/")[0] + "/"
    kernels = _folders(children, kernel_prefix(key.kernel.name), _PLACES)
    if not kernels:
        return Neighbours()
    worlds = [w for w in _folders(children, kernel, _PLACES) if w != world]
    theirs = [w for k in kernels if k != kernel for w in _folders(children, k, _PLACES)]
    here = _verdicts(children, [world])
    elsewhere = _verdicts(children, worlds)
    others = _verdicts(children, theirs[:_PLACES])
    nearby = [
        *_likeliest(_flat(here), work_class),
        *_likeliest(_of_this_key(key, {**elsewhere, **others}, children, read), work_class),
        *_likeliest(_flat(elsewhere), work_class),
    ]
    return Neighbours(list(dict.fromkeys(nearby)), _likeliest(_flat(others), work_class))


def distance_of_place(key: Key, parts: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """Whether the kernel's source is another in `parts`, and how many parts of the world are."""
    groups = [one.part.partition(".")[0] for one in compare(key.parts, parts)]
    return int("kernel" in groups), groups.count("world")


def _folders(children: Children, prefix: str, limit: int) -> list[str]:
    return sorted(name for name in children(prefix, limit) if name.endswith("/"))


def _verdicts(children: Children, worlds: Sequence[str]) -> dict[str, list[str]]:
    """The names of verdicts by their world, from some keys' folders in each."""
    found = {}
    for world in worlds:
        keys = _folders(children, world, max(1, _KEYS // len(worlds)))
        names = [name for key in keys for name in children(key, _NAMES)]
        found[world] = [name for name in names if class_of_verdict(name) is not None]
    return found


def _flat(places: Mapping[str, Sequence[str]]) -> list[str]:
    return [name for names in places.values() for name in names]


def _of_this_key(
    key: Key,
    places: Mapping[str, Sequence[str]],
    children: Children,
    read: Callable[[str], Verdict | None],
) -> list[str]:
    """The names of verdicts of the same tuning key, in worlds and sources that have a record.

    One record of a world and a source has their parts, from which the key's folder is computed.
    """
    ours = _parts(key.parts, "key.")
    found: list[str] = []
    for place, inside in [(place, inside) for place, inside in places.items() if inside][:_PLACES]:
        verdict = read(inside[0])
        if verdict is not None:
            theirs = _parts(verdict.key, "kernel."), ours, _parts(verdict.key, "world.")
            folder = parts_digest(part for group in theirs for part in group)
            names = children(f"{place}{folder}/", _NAMES)
            found += [name for name in names if class_of_verdict(name) is not None]
    return found


def _parts(parts: Iterable[tuple[str, str]], *groups: str) -> list[tuple[str, str]]:
    return [part for part in parts if part[0].startswith(groups)]


def _likeliest(names: Iterable[str], work_class: str) -> list[str]:
    """The names of the records to read: those of the nearest work classes."""

    def class_apart(name: str) -> tuple[float, str]:
        return class_distance(class_of_verdict(name) or UNKNOWN_CLASS, work_class), name

    return sorted(names, key=class_apart)[:_READ]


@dataclass(frozen=True)
class _Neighbour:
    """A verdict that knows some of the candidates.

    `apart` counts the parts of the key, whether the source is another, and the parts of the world
    in which it differs; `rank` orders.
    """

    verdict: Verdict
    relative: dict[str, float]
    apart: tuple[int, int, int]
    rank: tuple[float, ...]


def _ask(
    key: Key,
    work_class: str,
    candidates: Sequence[str],
    names: Iterable[str],
    read: Callable[[str], Verdict | None],
) -> Prior[str]:
    """The mean of the nearest verdicts, which are equally near, completed from the others.

    A verdict counts if it has at least two of the candidates.
    """
    known: list[_Neighbour] = []
    for name in names:
        verdict = read(name)
        relative = {} if verdict is None else _relative(verdict, candidates)
        if verdict is not None and len(relative) > 1:
            differ = len(compare(_parts(key.parts, "key."), _parts(verdict.key, "key.")))
            apart = differ, *distance_of_place(key, verdict.key)
            distance = class_distance(verdict.work_class, work_class)
            rank = (*apart, distance, -verdict.published_at)
            known.append(_Neighbour(verdict, relative, apart, rank))
    if not known:
        return Prior()
    known.sort(key=attrgetter("rank"))
    nearest = [one for one in known if one.apart == known[0].apart][:_ASKED]
    # First the verdicts of the nearest one's source and world.
    near = _parts(nearest[0].verdict.key, "kernel.", "world.")
    others = sorted(
        known[len(nearest) :],
        key=lambda one: _parts(one.verdict.key, "kernel.", "world.") != near,
    )
    times = _mean([one.relative for one in nearest])
    compile_s: dict[str, float] = {}
    for one in others:
        times = complete(times, one.relative)
    for one in (*nearest, *others):
        for measurement in one.verdict.measurements:
            if measurement.compile_s > 0:  # 0 where the binary was there already
                compile_s.setdefault(measurement.candidate, measurement.compile_s)
    return Prior(times, compile_s)


def _mean(relative: Iterable[Mapping[str, float]]) -> Mapping[str, float]:
    logs: dict[str, list[float]] = {}
    for one in relative:
        for candidate, factor in one.items():
            logs.setdefault(candidate, []).append(math.log(factor))
    return {candidate: math.exp(fmean(values)) for candidate, values in logs.items()}


def _relative(verdict: Verdict, candidates: Sequence[str]) -> dict[str, float]:
    live = set(candidates)
    found = {m.candidate: m for m in verdict.measurements if m.candidate in live}
    times = {c: m.times[0] for c, m in found.items() if m.failed is None and m.times[0] > 0}
    if not times:
        return {}
    best = min(times.values())
    return {c: bounded(times[c] / best) if c in times else _FAILED for c in found}
