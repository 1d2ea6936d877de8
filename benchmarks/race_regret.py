"""How good and how stable winners are, of a race and of stock's benchmark, under modelled noise.

    python benchmarks/race_regret.py [--keys 400] [--tunes 10] [--out FILE]

Prints a table; writes one JSON document to FILE (benchmarks/results/race-simulated.json is one).
The model is tests/unit/tuning/race_model.py: it is told what the times really are, which no GPU
tells.
Runs on one core without a GPU, about two minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.unit.tuning.race_model import (  # noqa: E402
    Key,
    Tune,
    figures,
    kernel_class,
    known_of,
    make_key,
    prior_of,
    tune_all,
)
from tuneonce.tuning.race import RULES, Rules, race  # noqa: E402

SCHEMA = "tuneonce.benchmark.race_regret/1"
Choose = Callable[[Tune], "int | None"]


class Racing:
    """Chooses by a race, and counts how many candidates had to be compiled."""

    def __init__(self, rules: Rules = RULES, **expected: Callable[[Key], Any]) -> None:
        self.rules, self.expected = rules, expected
        self.candidates = self.untried = self.certain = self.races = 0

    def __call__(self, tune: Tune) -> int | None:
        key = tune.key
        result = race(
            range(len(key.ms)),
            tune.compiled,
            tune,
            rules=self.rules,
            seed=tune.number,
            **{name: of(key) for name, of in self.expected.items()},
        )
        self.races += 1
        self.certain += result.certain
        self.candidates += len(key.ms)
        self.untried += len(result.untried)
        return result.winner

    def told(self) -> dict[str, float]:
        return {
            "certain": self.certain / self.races,
            "compiled": 1 - self.untried / self.candidates,
        }


def measure(keys: list[Key], tunes: int, choose: Choose, *, parts: bool = False) -> dict[str, Any]:
    chosen = tune_all(keys, tunes, choose)
    answer = figures(keys, chosen)
    if isinstance(choose, Racing):
        answer |= choose.told()
    if parts:
        for name, part_of in (("family", lambda key: key.family), ("kernel", kernel_class)):
            answer[f"by_{name}"] = {
                part: figures(
                    [key for key in keys if part_of(key) == part],
                    [row for key, row in zip(keys, chosen, strict=True) if part_of(key) == part],
                )
                for part in sorted({part_of(key) for key in keys})
            }
    return answer


def arms(count: int, tunes: int) -> dict[str, dict[str, Any]]:
    keys = [make_key(seed) for seed in range(count)]
    normal = [make_key(seed, offset="normal") for seed in range(count)]
    many = [make_key(seed) for seed in range(10_000, 10_000 + 5 * count)]
    done = {
        "race": measure(keys, tunes, Racing(), parts=True),
        "stock": measure(keys, tunes, Tune.stock, parts=True),
        "rule, endless samples": measure(keys, tunes, lambda t: t.ideal(RULES.tie), parts=True),
        "race, normal offsets": measure(normal, tunes, Racing(), parts=True),
        "stock, normal offsets": measure(normal, tunes, Tune.stock, parts=True),
        "rule, normal offsets": measure(normal, tunes, lambda t: t.ideal(RULES.tie), parts=True),
        "race, more keys": measure(many, 1, Racing()),
    }
    for tie in (0.005, 0.01, 0.015):
        rules = dataclasses.replace(RULES, tie=tie)
        done[f"race, tie {100 * tie:g} %"] = measure(keys, tunes, Racing(rules))
    for kind in ("right", "near", "random", "reversed"):
        # Late binding: each arm is measured before the next kind is set.
        done[f"race, {kind} prior"] = measure(
            many, 1, Racing(prior=lambda key, kind=kind: prior_of(key, kind))
        )
    done["race, resumed"] = measure(many, 1, Racing(known=known_of))
    return done


def a_model(tunes: int) -> dict[str, Any]:
    """The measuring of 6 keys with 20 candidates each, kernels of 20-500 µs, in seconds."""
    groups = [
        [make_key(seed * 6 + i, count=20, best_ms=ms) for i, ms in enumerate(BEST_MS)]
        for seed in range(tunes)
    ]
    return {
        name: sum(ms for keys in groups for row in tune_all(keys, 1, choose) for _, ms in row)
        / tunes
        / 1000
        for name, choose in (("race_s", Racing()), ("stock_s", Tune.stock))
    }


BEST_MS = (0.02, 0.04, 0.08, 0.15, 0.28, 0.5)


def table(done: dict[str, dict[str, Any]]) -> str:
    lines = [
        f"{'':24}{'regret: p50':>12}{'mean':>7}{'p99':>7}{'max':>7}{'over first':>12}"
        f"{'same':>7}{'pairs':>7}{'ms/cand.':>10}{'compiled':>10}"
    ]
    for name, arm in done.items():
        regret, agreement = arm["regret"], arm.get("agreement", {})
        shares = [regret["p50"], regret["mean"], regret["p99"], regret["p100"]]
        lines.append(
            f"{name:24}{shares[0]:>12.2%}{shares[1]:>7.2%}{shares[2]:>7.2%}{shares[3]:>7.2%}"
            f"{arm['worst_against_first']:>12.2%}"
            + "".join(
                f"{agreement[part]:>7.1%}" if agreement else f"{'':7}" for part in ("same", "pairs")
            )
            + f"{arm['sampling_ms_per_candidate']:>10.1f}"
            + (f"{arm['compiled']:>10.0%}" if "compiled" in arm else "")
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=400)
    parser.add_argument("--tunes", type=int, default=10)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    done = arms(args.keys, args.tunes)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "command": f"python benchmarks/race_regret.py --keys {args.keys} --tunes {args.tunes}",
        "python": platform.python_version(),
        "rules": dataclasses.asdict(RULES),
        "six_keys_of_twenty": a_model(args.tunes),
        "arms": done,
    }
    text = json.dumps(_rounded(document), indent=1) + "\n"
    if args.out is not None:
        args.out.write_text(text)
    print(table(done))
    print({k: round(v, 2) for k, v in document["six_keys_of_twenty"].items()})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
