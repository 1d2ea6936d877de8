"""How wide must a tie be for independent tunes to agree, where candidates lie as they do on a GPU?

`results/candidate-times-h100.json` holds the times of the candidates of 31 keys of fla-core,
mamba-ssm and gemlite, as one tune each has measured them on an H100, and the documents of
`tune_quality.py` those of all candidates of such keys on an H200 and an H100, each three times for
300 ms (their median is taken). Tunes are drawn from them: every candidate's time is moved by a
normal shift (another allocation, another clock), and the winner is the first of the list within the
tie. No samples are involved: this is the most that measuring can reach.

    python benchmarks/tie_width.py [--shift 0.003] [--out tie-width.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from math import exp, inf
from pathlib import Path
from random import Random
from typing import Any

from documents import give

SCHEMA = "tuneonce.tie-width/2"
RESULTS = Path(__file__).with_name("results")
TUNED = "candidate-times-h100.json"
ORACLE = (
    "tune-quality-fla-h200.json",
    "tune-quality-mamba-h100.json",
    "tune-quality-gemlite-h100.json",
)
TIES = (0.0, 0.01, 0.015, 0.02, 0.03, 0.04)
TUNES = 10


def tuned() -> list[list[float]]:
    """By key, the times of its candidates; infinite where one failed or was not tried."""
    keys = json.loads((RESULTS / TUNED).read_text())["keys"]
    return [[inf if ms is None else ms for ms in key["median_ms"]] for key in keys]


def oracle(name: str) -> list[list[float]]:
    """The same, of a document of `tune_quality.py`."""
    keys = json.loads((RESULTS / name).read_text())["oracle"]
    return [
        [statistics.median(found) if found else inf for found in key["candidates"].values()]
        for key in keys
    ]


def winner(times: Sequence[float], tie: float) -> int:
    limit = min(times) * (1 + tie)
    return next(i for i, ms in enumerate(times) if ms <= limit)


def judge(
    keys: Sequence[Sequence[float]], tie: float, shift: float, repeats: int
) -> dict[str, float]:
    """Ten tunes of every key, `repeats` times."""
    random = Random(0)
    agree = 0
    regrets: list[float] = []
    for times in keys:
        for _ in range(repeats):
            chosen = [
                winner([ms * exp(random.gauss(0, shift)) for ms in times], tie)
                for _ in range(TUNES)
            ]
            agree += len(set(chosen)) == 1
            regrets += [times[i] / min(times) - 1 for i in chosen]
    regrets.sort()
    return {
        "same": agree / (len(keys) * repeats),
        "regret_p50": statistics.median(regrets),
        "regret_mean": statistics.fmean(regrets),
        "regret_p99": regrets[int(0.99 * len(regrets))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shift", type=float, default=0.003, help="standard deviation, relative")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    judged = {"tuned": tuned(), "oracle": [key for name in ORACLE for key in oracle(name)]}
    judged["both"] = judged["tuned"] + judged["oracle"]
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "times": {"tuned": TUNED, "oracle": ORACLE},
        "keys": {name: len(keys) for name, keys in judged.items()},
        "tunes": TUNES,
        "shift": args.shift,
        "ties": {
            name: {
                f"{tie:g}": {
                    k: round(v, 5) for k, v in judge(keys, tie, args.shift, args.repeats).items()
                }
                for tie in TIES
            }
            for name, keys in judged.items()
        },
    }
    give(found, args.out)


if __name__ == "__main__":
    main()
