"""What verdicts that do not hold for a key let expect of its candidates.

The nearest few are asked: first those of the same tuning key, in another world (another GPU or
Triton), of another source or at another work class, then those of other tuning keys, in either case
those that differ in the fewest parts. So what is expected of a key stays the same while its
neighbours are tuned, and what was compiled ahead for it is what it asks for. Whoever is farther
away is only asked about candidates of which the nearer know nothing: those that were never tried
there, because they could not win, those of the nearest's world and source before others. Whatever
they say only orders and prunes a race, which finds out itself how far it can be trusted
(`tuning.expectations`).

A store may hold any number of keys, worlds and sources of one kernel. A question looks into a few
of each and costs what these cost; only where a store holds more than that does it matter which, and
the very same key elsewhere is found among any number, since its folder's name can be computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from statistics import fmean
from typing import Generic, TypeVar

from ..model.key import UNKNOWN_CLASS, Key, class_distance, compare
from ..model.record_names import ROOT, class_of_verdict, kernel_prefix, parts_digest
from ..model.records import Verdict

# Arbitrary: so many records are read of this world, of others, of other sources, and to find those
# of the very same key; and so many are averaged.
_READ, _ASKED = 24, 3
# Arbitrary: so many folders of keys are looked into in this world, in all others, and in all worlds
# of all other sources, and so many names in each; so many worlds and other sources are known.
_KEYS, _NAMES, _PLACES = 32, 256, 24
# Slower than anything that is worth a look, for what could not run elsewhere.
_FAILED = 10.0
# Slower than anything that was ever measured: what would be infinite has no mean.
_SLOWEST = 1e9

Children = Callable[[str, int], Iterable[str]]


C = TypeVar("C", str, int)


@dataclass(frozen=True)
class Prior(Generic[C]):
    """What is expected, by candidate; of candidates nobody knows there is nothing.

    `times` are relative to the best. `compile_s` are seconds of compiling, from the nearest verdict
    that has them.
    """

    times: Mapping[C, float] = field(default_factory=dict)
    compile_s: Mapping[C, float] = field(default_factory=dict)

    def at(self: Prior[str], candidates: Sequence[str]) -> Prior[int]:
        """The same by position in a list of candidates."""

        def listed(values: Mapping[str, float]) -> dict[int, float]:
            return {i: values[digest] for i, digest in enumerate(candidates) if digest in values}

        return Prior(listed(self.times), listed(self.compile_s))


def expect(
    key: Key,
    work_class: str,
    candidates: Sequence[str],
    *,
    children: Children,
    read: Callable[[str], Verdict | None],
) -> Prior[str]:
    """Ask the verdicts of a store.

    `children(prefix, limit)` lists a level of it, `read(name)` reads a verdict, None where it
    cannot be used.
    """
    read = cache(read)  # a record that tells of its place is asked for its times, too
    kernel = f"{ROOT}{key.kernel.directory}/"
    world = key.directory.rpartition("/")[0] + "/"
    kernels = _folders(children, kernel_prefix(key.kernel.name), _PLACES)
    if not kernels:
        return Prior()
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
    found = _ask(key, work_class, candidates, dict.fromkeys(nearby), read)
    if not found.times.keys() >= set(candidates):
        far = _ask(key, work_class, candidates, _likeliest(_flat(others), work_class), read)
        found = Prior(_complete(found.times, far.times), {**far.compile_s, **found.compile_s})
    return found


def _folders(children: Children, prefix: str, limit: int) -> list[str]:
    return sorted(name for name in children(prefix, limit) if name.endswith("/"))


def _verdicts(children: Children, worlds: Sequence[str]) -> dict[str, list[str]]:
    """The names of verdicts by their world: of some keys of each."""
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
    """Those of the very same tuning key: one record of a world and a source tells where that is."""
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
    """Those that are worth reading, by what their names say."""

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
    """The mean of the nearest verdicts, which are equally near, completed by the others.

    Verdicts that know at least two of the candidates count.
    """
    known: list[_Neighbour] = []
    for name in names:
        verdict = read(name)
        relative = {} if verdict is None else _relative(verdict, candidates)
        if verdict is not None and len(relative) > 1:
            parts = [one.part.partition(".")[0] for one in compare(key.parts, verdict.key)]
            apart = parts.count("key"), int("kernel" in parts), parts.count("world")
            distance = class_distance(verdict.work_class, work_class)
            rank = (*apart, distance, -verdict.published_at)
            known.append(_Neighbour(verdict, relative, apart, rank))
    if not known:
        return Prior()
    known.sort(key=attrgetter("rank"))
    nearest = [one for one in known if one.apart == known[0].apart][:_ASKED]
    # Who was measured beside the nearest, then everybody else.
    near = _parts(nearest[0].verdict.key, "kernel.", "world.")
    others = sorted(
        known[len(nearest) :],
        key=lambda one: _parts(one.verdict.key, "kernel.", "world.") != near,
    )
    times = _mean([one.relative for one in nearest])
    compile_s: dict[str, float] = {}
    for one in others:
        times = _complete(times, one.relative)
    for one in (*nearest, *others):
        for measurement in one.verdict.measurements:
            if measurement.compile_s > 0:  # else its binary was there
                compile_s.setdefault(measurement.candidate, measurement.compile_s)
    return Prior(times, compile_s)


def _mean(relative: Iterable[Mapping[str, float]]) -> Mapping[str, float]:
    logs: dict[str, list[float]] = {}
    for one in relative:
        for candidate, factor in one.items():
            logs.setdefault(candidate, []).append(math.log(factor))
    return {candidate: math.exp(fmean(values)) for candidate, values in logs.items()}


def _complete(near: Mapping[str, float], far: Mapping[str, float]) -> Mapping[str, float]:
    """`near`, and what only `far` knows, in the unit of `near`: that of those whom both know."""
    both = near.keys() & far.keys()
    if not near or not both:
        return near or far
    unit = math.exp(fmean(math.log(near[candidate] / far[candidate]) for candidate in both))
    return {**{candidate: _bounded(unit * factor) for candidate, factor in far.items()}, **near}


def _bounded(factor: float) -> float:
    return min(max(factor, 1 / _SLOWEST), _SLOWEST)


def _relative(verdict: Verdict, candidates: Sequence[str]) -> dict[str, float]:
    live = set(candidates)
    found = {m.candidate: m for m in verdict.measurements if m.candidate in live}
    times = {c: m.times[0] for c, m in found.items() if m.failed is None and m.times[0] > 0}
    if not times:
        return {}
    best = min(times.values())
    return {c: _bounded(times[c] / best) if c in times else _FAILED for c in found}
