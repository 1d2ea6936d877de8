"""How many of some hundred wrong candidates are caught, and whether an honest one is accused.

    python benchmarks/wrong_candidates.py --out OUT.json            # on a GPU
    TRITON_INTERPRET=1 python benchmarks/wrong_candidates.py --out OUT.json --sample 100

Each list of candidates has one that is wrong, of a kind of fault, a kernel and a type (`wrong/`).
On a GPU it is tuned with ``TUNEONCE_NUMERICS=check``, at a large size, from nothing; in Triton's
interpreter candidates are only looked at, at a small size. Prints what was missed and who was
accused, and saves the distances of all, with how far is too far.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "src"), str(ROOT)]

import torch  # noqa: E402
import triton  # noqa: E402
from documents import give, save  # noqa: E402
from wrong.cases import Case, Outcome, cases  # noqa: E402
from wrong.looking import Launches, look  # noqa: E402
from wrong.subjects import LARGE, SMALL  # noqa: E402

SCHEMA = "tuneonce.benchmark.wrong_candidates/1"
INTERPRETED = triton.knobs.runtime.interpret


class Kernels:
    """Compiled or interpreted, each made once."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}

    def of(self, function: Any) -> Any:
        return self._made.setdefault(function, triton.jit(function))

    def run(self, function: Any, grid: tuple[int, ...], values: dict[str, Any]) -> None:
        self.of(function)[grid](**values)


def told(case: Case, outcome: Outcome, seconds: dict[str, float]) -> dict[str, Any]:
    return {
        "case": case.name,
        "candidate": dict(case.candidates[case.place].blocks),
        "place": case.place,
        **dataclasses.asdict(outcome),
        "why_missed": outcome.why_missed,
        **{name: round(value, 6) for name, value in seconds.items()},
    }


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    missed = [one for one in found if not one["caught"]]
    return {
        "cases": len(found),
        "caught": len(found) - len(missed),
        "accused": sum(one["accused"] for one in found),
        "missed": dict(Counter(one["why_missed"] for one in missed)),
        "tune_s": round(sum(one.get("tune_s", 0.0) for one in found), 3),
        "look_s": round(sum(one.get("look_s", 0.0) for one in found), 3),
    }


def chosen(size: str, options: argparse.Namespace) -> list[Case]:
    every = cases(size, options.seed, first=options.first)
    found = [case for case in every if options.only in case.name]
    if options.sample is not None and options.sample < len(found):
        found = random.Random(options.seed).sample(found, options.sample)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sample", type=int, help="so many of the cases, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument(
        "--first",
        action="store_true",
        help="the wrong one is the author's first",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    size = SMALL if INTERPRETED else LARGE
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "device": "interpreter" if INTERPRETED else torch.cuda.get_device_name(),
        "versions": {"torch": torch.__version__, "triton": triton.__version__},
        "seed": options.seed,
        "wrong_is_first": options.first,
        "size": size,
    }
    kernels, found = Kernels(), []
    launches, tuner = Launches(kernels.run), None
    if not INTERPRETED:
        from wrong.tuning import Tuner

        os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp()
        tuner = Tuner(options.workers)
    for case in chosen(size, options):
        if tuner is None:
            outcome, seconds = look(case, size, launches), {}
        else:
            kernel = kernels.of(case.subject.kernel)
            outcome, seconds = tuner.tune(case, size, kernel, device="cuda")
        found.append(told(case, outcome, seconds))
        if outcome.accused or (outcome.caught is options.first):
            print(case.name, outcome.why_missed, outcome)
        document |= {"summary": summary(found), "cases": found}
        if options.out is not None:
            save(document, options.out)
    give(document["summary"], None)


if __name__ == "__main__":
    main()
