"""Kernels whose best candidate changes with the size, or does not: what each way to tune finds.

    python benchmarks/class_regret.py [--kernels 48] [--launches 400] [--arms ...] [--out FILE]

Prints a table; writes one JSON document to FILE, as
benchmarks/results/class-regret-between-classes.json is one.
Kernels are those of tests/kernels/launch/sized_kernels.py, with made-up times on a simulated GPU,
whose truth is known; half of them have the same best candidate at all sizes, in the others it
changes once or twice. In as many more, all candidates drift (tests/unit/tuning/drifting_levels.py).
Launches are log-uniform over six work classes; the first is the warm-up.

The arms: *race* tunes each class as it is met, while a program starts; *explore* races the warm-up
and has traffic of all sizes tune the other classes, before the launches that count; *one verdict*
has work classes off; *race rest*, *explore rest* and *borrow rest* race every second class first,
and then the others, or have the traffic tune them, or nobody; *borrow nearest* is the last of these
without expecting anything of a class between two; *full* races each class as if nothing
were known; *best* is the truly best single candidate of each class, for these launches.

Runs without a GPU, about four minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from documents import give  # noqa: E402

from tests.kernels.launch.sized_kernels import (  # noqa: E402
    CANDIDATES,
    CLASSES,
    EVERY_SECOND,
    NOISE,
    Outcome,
    Sized,
    make_drifting,
    make_kernels,
    on_a_gpu,
)
from tuneonce.tuning.quantiles import quantile  # noqa: E402

SCHEMA = "tuneonce.benchmark.class_regret/1"
# Traffic that tunes classes ends after so many launches, whatever is left.
MOST = 8000
ARMS: dict[str, Callable[[Sized], Outcome]] = {
    "race": lambda sized: sized.starting(),
    "explore": lambda sized: sized.serving(MOST),
    "race rest": lambda sized: sized.starting(warm_up=EVERY_SECOND),
    "explore rest": lambda sized: sized.serving(MOST, warm_up=EVERY_SECOND),
    "borrow rest": lambda sized: sized.borrowing(EVERY_SECOND),
    "borrow nearest": lambda sized: sized.borrowing(EVERY_SECOND, nearest=True),
    "one verdict": lambda sized: sized.starting(work_classes=False),
    "full": lambda sized: sized.full(),
    "best": lambda sized: sized.ideal(),
}
Outcomes = dict[str, list[Outcome]]


def measure(kernels: int, launches: int, arms: Iterable[str]) -> dict[str, Outcomes]:
    """By whether the best candidate changes, and by arm: what came of each kernel."""
    found: dict[str, Outcomes] = {}
    for kernel in (*make_kernels(kernels), *make_drifting(kernels)):
        name = "drifts" if kernel.drifts else "changes" if kernel.changes else "stays"
        part = found.setdefault(name, {})
        with on_a_gpu(kernel, launches=launches) as sized:
            for name in arms:
                part.setdefault(name, []).append(ARMS[name](sized))
    return found


def figures(outcomes: list[Outcome]) -> dict[str, Any]:
    """Means over kernels; the regret is of all launches of all of them."""
    regret = sorted(one for outcome in outcomes for one in outcome.regret)
    learning = [one for outcome in outcomes for one in outcome.learning]
    answer: dict[str, Any] = {
        "kernels": len(outcomes),
        "classes": fmean(outcome.found for outcome in outcomes),
        "regret": {
            "mean": fmean(regret),
            **{f"p{q}": quantile(regret, q / 100) for q in (50, 95, 99, 100)},
        },
        "candidates_measured": fmean(outcome.measured for outcome in outcomes),
        "of_these_beyond_the_first_class": fmean(outcome.beyond_first for outcome in outcomes),
        "launches_to_measure": fmean(outcome.samples for outcome in outcomes),
    }
    if learning:
        answer["while_traffic_tunes"] = {
            "launches": len(learning) / len(outcomes),
            "mean_regret": fmean(learning),
        }
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernels", type=int, default=48, help="modelled kernels (default 48)")
    parser.add_argument("--launches", type=int, default=400, help="of each (default 400)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="some of them")
    parser.add_argument("--out", type=Path, help="where the document goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as compiled:
        os.environ["TRITON_CACHE_DIR"] = compiled
        found = measure(args.kernels, args.launches, args.arms)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kernels": args.kernels,
        "launches": args.launches,
        "candidates": CANDIDATES,
        "classes": len(CLASSES),
        "noise": NOISE,
        "best_candidate": {
            part: {name: _rounded(figures(of_arm)) for name, of_arm in outcomes.items()}
            for part, outcomes in found.items()
        },
    }
    print(table(document))
    if args.out is not None:
        give(document, args.out)
    return 0


def table(document: dict[str, Any]) -> str:
    lines = [
        f"{'best':8} {'arm':15}{'classes':>8}{'regret: mean':>14}{'p50':>7}{'p95':>7}{'p99':>7}"
        f"{'measured':>10}{'beyond 1st':>12}{'launches':>10}{'traffic':>9}{'regret':>8}"
    ]
    for part, by_arm in document["best_candidate"].items():
        for name, one in by_arm.items():
            regret = one["regret"]
            line = (
                f"{part:8} {name:15}{one['classes']:>8.1f}{regret['mean']:>14.2%}"
                f"{regret['p50']:>7.1%}{regret['p95']:>7.1%}{regret['p99']:>7.1%}"
                f"{one['candidates_measured']:>10.1f}"
                f"{one['of_these_beyond_the_first_class']:>12.1f}"
                f"{one['launches_to_measure']:>10.0f}"
            )
            traffic = one.get("while_traffic_tunes")
            if traffic is not None:
                line += f"{traffic['launches']:>9.0f}{traffic['mean_regret']:>8.1%}"
            lines.append(line)
    return "\n".join(lines)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    raise SystemExit(main())
