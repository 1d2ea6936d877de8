"""Sizes, the stream of calls, and what times come to: no torch, no Triton."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

ARMS = ("learning", "second", "stock", "oracle")
# Of calls of about one length: the factor between the ends of a bucket is the square root of two.
BUCKETS_PER_OCTAVE = 2
NEIGHBOURS = 10
LONGEST = 3


def lengths(size: str) -> list[int]:
    """The lengths of the sequences of a size: ``64``, ``16x128`` or ``8192+4096``.

    A size of one number is one dense call, every other one is packed. Raises ValueError.
    """
    found: list[int] = []
    for part in size.split("+"):
        count, times, length = part.partition("x")
        found += [int(length)] * int(count) if times else [int(part)]
    if not found or min(found) < 1:
        raise ValueError(f"{size} is no size")
    return found


def is_packed(size: str) -> bool:
    return not size.isdigit()


def stream(
    calls: int, *, least: int, most: int, packed: float, seed: int, without: Collection[int] = ()
) -> list[str]:
    """Sizes of so many calls; tokens are log-uniform between `least` and `most`, both possible.

    A share `packed` of the calls has two to eight sequences of random lengths. No call has a number
    of tokens in `without`.
    """
    generator = random.Random(seed)
    found: list[str] = []
    while len(found) < calls:
        tokens = round(math.exp(generator.uniform(math.log(least), math.log(most))))
        if tokens in without:
            continue
        if generator.random() >= packed:
            found.append(str(tokens))
            continue
        cuts = generator.sample(range(1, tokens), min(generator.randrange(1, 8), tokens - 1))
        ends = [0, *sorted(cuts), tokens]
        found.append("+".join(str(end - start) for start, end in itertools.pairwise(ends)))
    return found


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "calls": len(values),
        "p50": round(statistics.median(values), 4),
        "p90": round(percentile(values, 90), 4),
        "p99": round(percentile(values, 99), 4),
        "max": round(max(values), 4),
    }


def bucket(size: str) -> tuple[bool, int]:
    """What calls are compared with: packed or not, and the bucket of their number of tokens."""
    return is_packed(size), math.floor(BUCKETS_PER_OCTAVE * math.log2(sum(lengths(size))))


def latencies(calls: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """A stream of sizes and milliseconds: percentiles, and the longest calls beside their like.

    ``over_median`` are calls over the median of their bucket, of each half of the stream apart. The
    longest calls stand beside the median of the nearest calls of their bucket, before and after.
    """
    if not calls:
        return {"ms": None, "buckets": [], "over_median": {}, "longest": []}
    members: dict[tuple[bool, int], list[int]] = {}
    for number, (size, _) in enumerate(calls):
        members.setdefault(bucket(size), []).append(number)
    ratios = [0.0] * len(calls)
    buckets = []
    for (packed, _), numbers in sorted(members.items()):
        values = [calls[number][1] for number in numbers]
        median = statistics.median(values)
        for number, value in zip(numbers, values, strict=True):
            ratios[number] = value / median
        tokens = [sum(lengths(calls[number][0])) for number in numbers]
        ends = {"packed": packed, "least": min(tokens), "most": max(tokens)}
        buckets.append({**ends, **summary(values)})
    half = (len(calls) + 1) // 2
    halves = {"first half": ratios[:half], "second half": ratios[half:]}
    # The longest call of all is mostly one of many tokens; the others are long for what they are.
    by_ms = sorted(range(len(calls)), key=lambda number: -calls[number][1])[:LONGEST]
    by_ratio = sorted(range(len(calls)), key=lambda number: -ratios[number])
    longest = by_ms + [number for number in by_ratio if number not in by_ms][:LONGEST]
    return {
        "ms": summary([ms for _, ms in calls]),
        "buckets": buckets,
        "over_median": {name: summary(values) for name, values in halves.items() if values},
        "longest": [
            _beside(calls, number, members[bucket(calls[number][0])]) for number in longest
        ],
    }


def _beside(calls: Sequence[tuple[str, float]], number: int, like: Sequence[int]) -> dict[str, Any]:
    size, ms = calls[number]
    others = sorted((abs(other - number), other) for other in like if other != number)
    near = [calls[other][1] for _, other in others[:NEIGHBOURS]]
    return {
        "call": number,
        "size": size,
        "ms": round(ms, 4),
        "neighbours_ms": round(statistics.median(near), 4) if near else None,
    }


def table(arms: Mapping[str, Mapping[str, Any]], sizes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By size the milliseconds of every arm, and its loss against the oracle.

    A loss is the arm's time over the oracle's, less 1; it is below 0 where the arm was faster. What
    was not measured is left out, and so are losses of arms that were measured in another way.
    """
    rows: dict[str, dict[str, Any]] = {}
    for size in sizes:
        found = {arm: arms[arm]["sizes"][size] for arm in ARMS if size in _sizes(arms, arm)}
        oracle = found.get("oracle")
        if found:
            rows[size] = {
                "ms": {arm: one["ms"] for arm, one in found.items()},
                "loss": {
                    arm: round(one["ms"] / oracle["ms"] - 1, 4) or 0.0  # and not -0.0
                    for arm, one in found.items()
                    if oracle and arm != "oracle" and one["how"] == oracle["how"]
                },
            }
    return rows


def _sizes(arms: Mapping[str, Mapping[str, Any]], arm: str) -> Mapping[str, Any]:
    return arms[arm]["sizes"] if arm in arms else {}


def losses(rows: Mapping[str, Mapping[str, Any]], sizes: Sequence[str]) -> dict[str, Any]:
    """Of every arm, how much it loses at these sizes: the mean, the most, and at which size."""
    found = {}
    for arm in ARMS:
        of = {size: rows[size]["loss"][arm] for size in sizes if arm in _losses(rows, size)}
        if of:
            worst = max(of, key=lambda size: of[size])
            mean = round(statistics.fmean(of.values()), 4)
            found[arm] = {"sizes": len(of), "mean": mean, "most": of[worst], "at": worst}
    return found


def _losses(rows: Mapping[str, Mapping[str, Any]], size: str) -> Mapping[str, float]:
    return rows[size]["loss"] if size in rows else {}
