"""How far times of a document are noise, by how long a launch takes: two ways to see it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

from .figures import percentile
from .timed import Timed

# Milliseconds at which bands of launches begin, by their fastest candidate.
BANDS = (0.0, 0.01, 0.02)
# Arbitrary: how much longer than a larger launch a smaller one takes that something disturbed.
DISTURBED = 1.25
# In fla-core the gate is one number a head for one operator, for another one for each element of
# the head, and neither key nor grid says which: no two launches of it are known to be the same.
AMBIGUOUS = frozenset({"chunk_gated_delta_rule_fwd_kernel_h_blockdim64"})


class Twice(NamedTuple):
    """One launch, as two operators make it, measured in a process of each."""

    size: str
    one: Timed
    other: Timed


def bands(keys: Sequence[Timed]) -> list[dict[str, Any]]:
    """Of each band: launches measured twice, and candidates that a larger launch disproves."""
    ends = [*BANDS[1:], math.inf]
    twice = list(measured_twice(keys))
    found = []
    for start, end in zip(BANDS, ends, strict=True):
        repeats = [pair for pair in twice if start <= pair.one.least(pair.size) < end]
        found.append(
            {
                "from_us": round(start * 1e3),
                "to_us": None if end == math.inf else round(end * 1e3),
                "launches": sum(start <= key.least(size) < end for key in keys for size in key.ms),
                "repeated": repeated(repeats),
                "disturbed": disturbed(keys, start, end),
            }
        )
    return found


def measured_twice(keys: Sequence[Timed]) -> Iterator[Twice]:
    for one, other in itertools.combinations(keys, 2):
        if one.kernel in AMBIGUOUS:
            continue
        for size in one.ms:
            if size in other.ms and one.same[size] == other.same[size]:
                yield Twice(size, one, other)


def repeated(pairs: Sequence[Twice]) -> dict[str, Any] | None:
    """How far two times of a candidate are apart, and what the winner by one loses by the other:
    classes that lose as much lose nothing that could be seen."""
    if not pairs:
        return None
    apart = [ratio for pair in pairs for ratio in _apart(pair)]
    lost = [
        judge.slower(pair.size, judged.best[pair.size])
        for pair in pairs
        for judge, judged in ((pair.one, pair.other), (pair.other, pair.one))
    ]
    return {
        "pairs": len(pairs),
        "times_apart": {"p50": median(apart), "p95": percentile(apart, 95)},
        "winner_lost": {"mean": fmean(lost), "max": max(lost)},
    }


def _apart(pair: Twice) -> Iterable[float]:
    times: Mapping[str, float] = pair.other.ms[pair.size]
    for name, ms in pair.one.ms[pair.size].items():
        if name in times:
            yield max(ms, times[name]) / min(ms, times[name]) - 1


def disturbed(keys: Sequence[Timed], start: float, end: float) -> dict[str, int]:
    """Candidates that took longer than the same candidate for more elements, and how many might
    have."""
    times = found = 0
    for key in keys:
        for size, ms in key.ms.items():
            larger = [other for other in key.ms if key.elements(other) > key.elements(size)]
            if not larger or not start <= key.least(size) < end:
                continue
            times += len(ms)
            found += sum(
                one > DISTURBED * min(key.ms[other][name] for other in larger)
                for name, one in ms.items()
            )
    return {"times": times, "disturbed": found}
