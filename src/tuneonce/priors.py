"""What verdicts that do not hold for a key let expect of its candidates.

The nearest few are asked: of the same kernel with another tuning key, at another work class or in
another world (another GPU product, another Triton), those that differ in the fewest parts. Whoever
is farther away is only asked about candidates of which the nearer know nothing: those that
were never tried there, because they could not win; and another source of a kernel of that name
last. Whatever they say only orders and prunes a race, which finds out itself how far it can be
trusted (`tuneonce.expected`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from .key import FORMAT, Key, class_distance, compare, readable
from .records import Verdict

# Arbitrary: so many records are read of this world, of others and of other sources, and so many of
# them averaged.
_READ, _ASKED = 24, 3
# Slower than anything that is worth a look, for what could not run elsewhere.
_FAILED = 10.0
_END = ".verdict.json"


def expected_times(
    key: Key,
    work_class: str,
    candidates: Sequence[str],
    *,
    names: Callable[[str], Iterable[str]],
    read: Callable[[str], Verdict | None],
) -> dict[str, float]:
    """Times relative to the best, by candidate; of candidates nobody knows there is none.

    `names(prefix)` lists a store, `read(name)` reads a verdict, None where it cannot be used.
    """
    kernel = f"{FORMAT}/{key.kernel.directory}/"
    world = key.directory.rpartition("/")[0] + "/"
    verdicts = [name for name in names(kernel) if name.endswith(_END)]
    here = [name for name in verdicts if name.startswith(world)]
    elsewhere = [name for name in verdicts if not name.startswith(world)]
    nearby = [*_likeliest(here, work_class), *_likeliest(elsewhere, work_class)]
    found = _ask(key, work_class, candidates, nearby, read)
    if not found.keys() >= set(candidates):
        sources = names(f"{FORMAT}/{readable(key.kernel.name)}~")
        others = [n for n in sources if n.endswith(_END) and not n.startswith(kernel)]
        theirs = _ask(key, work_class, candidates, _likeliest(others, work_class), read)
        found = _complete(found, theirs)
    return found


def _likeliest(names: Iterable[str], work_class: str) -> list[str]:
    """Those that are worth reading, by what their names say."""

    def class_apart(name: str) -> tuple[float, str]:
        return class_distance(name.rpartition("/")[2].partition(".")[0], work_class), name

    return sorted(names, key=class_apart)[:_READ]


def _ask(
    key: Key,
    work_class: str,
    candidates: Sequence[str],
    names: Iterable[str],
    read: Callable[[str], Verdict | None],
) -> dict[str, float]:
    """The mean of the nearest verdicts, which are equally near, completed by the others.

    Verdicts that know at least two of the candidates count.
    """
    known: list[tuple[tuple[float, float, float], dict[str, float]]] = []
    for name in names:
        verdict = read(name)
        if verdict is None:
            continue
        relative = _relative(verdict, candidates)
        if len(relative) > 1:
            differences = compare(key.parts, verdict.key)
            apart = sum(not one.part.startswith("kernel.") for one in differences)
            distance = class_distance(verdict.work_class, work_class)
            known.append(((apart, distance, -verdict.published_at), relative))
    known.sort(key=lambda item: item[0])
    nearest = [relative for (apart, *_), relative in known if apart == known[0][0][0]][:_ASKED]
    logs: dict[str, list[float]] = {}
    for relative in nearest:
        for candidate, factor in relative.items():
            logs.setdefault(candidate, []).append(math.log(factor))
    found = {candidate: math.exp(fmean(values)) for candidate, values in logs.items()}
    for _, relative in known[len(nearest) :]:
        found = _complete(found, relative)
    return found


def _complete(near: dict[str, float], far: dict[str, float]) -> dict[str, float]:
    """`near`, and what only `far` knows, in the unit of `near`: that of those whom both know."""
    both = near.keys() & far.keys()
    if not near or not both:
        return near or far
    unit = math.exp(fmean(math.log(near[candidate] / far[candidate]) for candidate in both))
    return {candidate: unit * factor for candidate, factor in far.items()} | near


def _relative(verdict: Verdict, candidates: Sequence[str]) -> dict[str, float]:
    live = set(candidates)
    found = {m.candidate: m for m in verdict.measurements if m.candidate in live}
    times = {c: m.times[0] for c, m in found.items() if m.failed is None and m.times[0] > 0}
    if not times:
        return {}
    best = min(times.values())
    return {c: times[c] / best if c in times else _FAILED for c in found}
