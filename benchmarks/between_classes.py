"""Leaves out one work class of a key after the other: what the others let expect of it, and what is
measured for it then.

    python benchmarks/between_classes.py [TIMES.json] [--from 0 20] [--orders 12] [--out FILE]

TIMES.json (benchmarks/results/work-class-times-h200.json if it is not given) is what
`benchmarks/work_classes.py --times` has written: every candidate of every kernel, measured at
several sizes. A key's classes are met in random orders, each at one of its sizes, and raced as a
start does (`tuning.expectations`), but with the measured times, which hold no noise: what a race
leaves out it has lost.

Prints and writes, of the classes that lie between two that were met, and of the others: the share
of the candidates that are measured, the regret of the fastest of these, and that of what runs at
once: the nearest class's winner, and the likeliest one. *usual* races with the same times, but with
the error and the probes of the times of other keys. And how far candidates in front move against
each other within a class, and from one class to the next. `--from`: once for each of these, without
launches that take fewer microseconds. No GPU is needed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src")]

from documents import give  # noqa: E402

from tuneonce.model.key import class_distance, largest_first, work_class  # noqa: E402
from tuneonce.tuning.between_classes import FRONT, Between, between, likeliest  # noqa: E402
from tuneonce.tuning.expectations import Expectations, Trust  # noqa: E402
from tuneonce.tuning.quantiles import quantile  # noqa: E402
from tuneonce.tuning.relative import relative  # noqa: E402

SCHEMA = "tuneonce.benchmark.between_classes/1"
TIMES = ROOT / "benchmarks/results/work-class-times-h200.json"
Times = dict[int, float]
"""Milliseconds by position in the list; who did not run is not in it."""


class Key(NamedTuple):
    """One key of a kernel: its candidates, and by work class the times at each of its sizes."""

    candidates: int
    classes: dict[str, list[Times]]


class Met(NamedTuple):
    """One class that was met after others."""

    is_between: bool
    measured: float
    regret: float
    nearest: float
    likeliest: float


def keys_of(document: Mapping[str, Any], least: float) -> Iterator[Key]:
    for operator in document["operators"].values():
        kernels = operator["arms"].get("times", {}).get("kernels", {})
        for key in (key for keys in kernels.values() for key in keys.values()):
            classes: dict[str, list[Times]] = {}
            for size, launch in key["launches"].items():
                name = work_class(launch["programs"], launch["largest_numel"])
                each = enumerate(key["candidates"].values())
                found = {i: ms[size] for i, ms in each if ms.get(size)}
                if len(found) > 1 and min(found.values()) * 1000 >= least:
                    classes.setdefault(name, []).append(found)
            if len(classes) > 1:
                yield Key(len(key["candidates"]), classes)


def moves(keys: list[Key], apart: int) -> dict[str, float]:
    """By how much the logarithms of candidates in front move against each other, between sizes of
    classes that are so far apart."""
    found: list[float] = []
    for key in keys:
        names = [(one, other) for one in key.classes for other in key.classes if one <= other]
        for one, other in (pair for pair in names if class_distance(*pair) == apart):
            for here in key.classes[one]:
                for there in key.classes[other]:
                    if here is not there:
                        found += moved(relative(here), relative(there))
    return {
        "deviation": round(math.sqrt(fmean(move**2 for move in found)), 4),
        "median": round(median(map(abs, found)), 4),
    }


def moved(here: Mapping[int, float], there: Mapping[int, float]) -> list[float]:
    front = [c for c in here if c in there and min(here[c], there[c]) <= FRONT]
    found = [math.log(there[c] / here[c]) for c in front]
    return [one - median(found) for one in found] if len(found) > 1 else []


def meet_all(key: Key, random: Random, *, usual: bool) -> Iterator[Met]:
    """Meet the classes in a random order."""
    known: dict[str, Times] = {}
    winners: dict[str, int] = {}
    for name in random.sample(sorted(key.classes), len(key.classes)):
        times = random.choice(key.classes[name])
        own = between(name, known)
        if not known:
            seen = times
        else:
            seen = raced(key.candidates, times, own, usual=usual, seed=random.random())
            order = sorted(winners, key=lambda n: (class_distance(n, name), largest_first(n)))
            likely = likeliest(name, known, winners) or order[0]
            best, slowest = min(times.values()), max(times.values())
            yield Met(
                own.on_both_sides,
                len(seen) / len(times),
                min(seen.values()) / best - 1,
                times.get(winners[order[0]], slowest) / best - 1,
                times.get(winners[likely], slowest) / best - 1,
            )
        known[name] = seen
        winners[name] = min(seen, key=seen.__getitem__)


def raced(count: int, times: Times, own: Between[int], *, usual: bool, seed: float) -> Times:
    """The times that a race would take."""
    expectations = Expectations(
        range(count),
        known={},
        prior=own.times,
        compile_s={},
        trust=Trust(),
        seed=int(seed * 2**31),
        prior_error=None if usual else own.error,
        probes=usual or not own.on_both_sides,
    )
    asked: set[int] = set()
    wave = expectations.first()
    while wave:
        asked.update(wave)
        wave = expectations.more({c: times[c] for c in asked if c in times}, asked)
    return {c: times[c] for c in asked if c in times}


def figures(met: list[Met]) -> dict[str, Any]:
    def spread(values: list[float]) -> dict[str, float]:
        values = sorted(values)
        return {
            "mean": round(fmean(values), 5),
            **{f"p{q}": round(quantile(values, q / 100), 4) for q in (95, 99, 100)},
        }

    return {
        "classes": len(met),
        "measured": round(fmean(one.measured for one in met), 4),
        "regret": spread([one.regret for one in met]),
        "runs_at_once": {
            "nearest": spread([one.nearest for one in met]),
            "likeliest": spread([one.likeliest for one in met]),
        },
    }


def compare(keys: list[Key], orders: int) -> dict[str, Any]:
    """By arm, what came of the classes between two that were met, and of the others."""
    arms = {}
    for arm in ("usual", "between"):
        met = [
            one
            for number, key in enumerate(keys)
            for order in range(orders)
            for one in meet_all(key, Random(f"{number} {order}"), usual=arm == "usual")
        ]
        arms[arm] = {
            part: figures([one for one in met if one.is_between is inside])
            for part, inside in (("between two", True), ("others", False))
        }
    return {
        "keys": len(keys),
        "arms": arms,
        "moves": {"within a class": moves(keys, 0), "to the next": moves(keys, 1)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("times", nargs="?", default=TIMES, type=Path, help="measured times")
    parser.add_argument("--from", dest="least", type=float, nargs="+", default=[0, 20])
    parser.add_argument("--orders", type=int, default=12, help="of each key (default 12)")
    parser.add_argument("--out", type=Path, help="where the document goes")
    args = parser.parse_args()
    times = json.loads(args.times.read_text())
    document = {
        "schema": SCHEMA,
        "times": args.times.name,
        "orders": args.orders,
        "from_us": {
            f"{least:g}": compare(list(keys_of(times, least)), args.orders) for least in args.least
        },
    }
    give(document, args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
