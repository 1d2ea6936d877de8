"""How good winners are that a key's traffic finds, and what they cost, under modelled noise.

    python benchmarks/explore_regret.py [--keys 400] [--out FILE]

Prints a table; writes one JSON document to FILE (benchmarks/results/explore-simulated.json is one).
Keys are those of tests/unit/tuning/race_model.py, traffic is that of traffic_model.py beside it,
which are told what the times really are, as no GPU tells. Runs on one core without a GPU, about two
minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from documents import give  # noqa: E402

from tests.unit.tuning.race_model import make_key  # noqa: E402
from tests.unit.tuning.traffic_model import Traffic  # noqa: E402
from tuneonce.tuning.quantiles import quantile  # noqa: E402

SCHEMA = "tuneonce.benchmark.explore_regret/1"
TRAFFIC: dict[str, dict[str, float]] = {
    "usual": {},
    "quiet": {"noise": 0.01, "outliers": 0.01},
    "noisy": {"noise": 0.1},
    "many outliers": {"outliers": 0.1},
    "sizes up to 4 times": {"sizes": 4.0},
    "first launches 2.5 times as slow": {"ramp": 1.5},
    "times 60 launches late": {"late": 60},
    "noisy, sizes, late": {"noise": 0.1, "sizes": 4.0, "late": 60},
}


def figures(keys: int, **traffic: Any) -> dict[str, Any]:
    """Of one process for each key: regret, launches, excess in launches of the incumbent."""
    found: dict[str, list[float]] = {"regret": [], "launches": [], "excess": [], "passes": []}
    certain = 0
    for seed in range(keys):
        key = make_key(seed)
        verdict = Traffic(key, seed=1, **traffic).run()
        found["regret"].append(key.regret(verdict.winner))
        found["launches"].append(verdict.launches)
        found["excess"].append(verdict.excess)
        found["passes"].append(verdict.passes)
        certain += verdict.certain
    return {
        "certain": round(certain / keys, 3),
        **{
            name: {
                "mean": round(fmean(values), 4),
                **{f"p{q}": round(quantile(sorted(values), q / 100), 4) for q in (50, 95, 100)},
            }
            for name, values in found.items()
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, default=400, help="keys (default 400)")
    parser.add_argument("--out", type=Path, help="where the document goes")
    args = parser.parse_args()
    traffic = {}
    for name, options in TRAFFIC.items():
        found = traffic[name] = {"traffic": options, **figures(args.keys, **options)}
        regret, launches, excess = (found[k] for k in ("regret", "launches", "excess"))
        print(
            f"{name:32} regret {regret['p50']:.4f} p95 {regret['p95']:.4f} "
            f"launches {launches['p50']:6.0f} p95 {launches['p95']:6.0f} "
            f"excess {excess['p50']:6.1f} p95 {excess['p95']:6.1f} certain {found['certain']:.2f}"
        )
    if args.out is not None:
        give({"schema": SCHEMA, "keys": args.keys, "traffic": traffic}, args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
