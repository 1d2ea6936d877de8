"""By which measure of size, and how finely, a key's launches should have winners of their own.

Reads a document of ``work_classes.py --times``, which holds the times of every candidate at every
size, and runs nothing:

    python benchmarks/class_measures.py [TIMES.json] [--out FILE] [--table]

Prints one document (benchmarks/results/class-measures.json is one), or with ``--table`` what it
says as markdown. It tells of

``measures``
    for each measure of size and width of a class, how many classes there are, and how much slower
    calls are that run the winner of another size of their class;
``ruled_out``
    what candidates may be left unmeasured for what they take in neighbouring classes;
``between``
    what to run in a class that is not measured yet, between two that are;
``noise``
    how far all that is noise. Launches of some microseconds are, with the short `do_bench` that
    measured them. So every figure is given three times: of all launches; judged at those alone that
    are long enough to be quiet, whatever size the winner is of; and as if only these were known.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS.parent / "src")]

from classes.measures import MEASURES, WIDTHS, regret  # noqa: E402
from classes.neighbours import NEIGHBOURS, between, ruled_out  # noqa: E402
from classes.noise import BANDS, bands  # noqa: E402
from classes.timed import Timed, judged_from, known_from, read  # noqa: E402
from documents import give  # noqa: E402

from tuneonce.model.key import Work  # noqa: E402

SCHEMA = "tuneonce.class-measures/1"
TIMES = BENCHMARKS / "results" / "work-class-times-h200.json"
CUTS = (1.1, 1.2, 1.3, 1.5, 2.0, 3.0)
# Launches that take longer are not disturbed, as ``noise`` tells.
QUIET_MS = BANDS[-1]
LOSSES = ("mean", "worst", "worst_call")
LEAST_TOKENS = (64, 128, 512)


def measure(source: Mapping[str, Any]) -> dict[str, Any]:
    keys, left = read(source)
    return {
        "schema": SCHEMA,
        "times": {name: source.get(name) for name in ("schema", "commit", "gpu", "versions")},
        "missing": source.get("missing", []),
        "left_out": left._asdict(),
        "noise": bands(keys),
        "quiet_us": round(QUIET_MS * 1e3),
        "launches": {
            "all": figures(keys),
            "judged where quiet": figures(judged_from(keys, QUIET_MS)),
            "known where quiet": figures(known_from(keys, QUIET_MS)),
        },
    }


def figures(keys: Sequence[Timed]) -> dict[str, Any]:
    return {
        "measures": {
            "one class": by_operator(keys, lambda work: None),
            **{
                f"{name}, {width}": by_operator(keys, partial(of, octaves=octaves))
                for width, octaves in WIDTHS.items()
                for name, of in MEASURES.items()
            },
        },
        "ruled_out": {
            f"{cut:g}": {name: ruled_out(keys, cut, near) for name, near in NEIGHBOURS.items()}
            for cut in CUTS
        },
        "between": {f"from {least} tokens": between(keys, least) for least in LEAST_TOKENS},
    }


def by_operator(keys: Sequence[Timed], class_of: Callable[[Work], Hashable]) -> dict[str, Any]:
    of = {
        operator: regret([key for key in keys if key.operator == operator], class_of)
        for operator in dict.fromkeys(key.operator for key in keys)
    }
    return {"all": regret(keys, class_of), **of}


# -- as markdown --------------------------------------------------------------------------------


def tables(document: Mapping[str, Any]) -> str:
    parts = [noise_table(document["noise"])]
    for name, of in document["launches"].items():
        parts += [f"Launches: {name}.", measures_table(of["measures"])]
        parts += [ruled_out_table(of["ruled_out"]), between_table(of["between"])]
    return "\n\n".join(parts)


def noise_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "launches that take | | disturbed | measured twice | times apart: median | 95 % |"
    lines = []
    for row in rows:
        of, repeats = row["disturbed"], row["repeated"]
        end = "and more" if row["to_us"] is None else f"to {row['to_us']}"
        cells = [f"{row['from_us']} µs {end}", row["launches"]]
        cells.append(_percent(of["disturbed"] / of["times"] if of["times"] else None))
        if repeats is None:
            cells += [0, *[""] * 4]
        else:
            apart, lost = repeats["times_apart"], repeats["winner_lost"]
            cells += [repeats["pairs"], _percent(apart["p50"]), _percent(apart["p95"])]
            cells += [_percent(lost["mean"]), _percent(lost["max"])]
        lines.append(cells)
    return _table(f"{head} the other's winner: mean | most", lines)


def measures_table(measures: Mapping[str, Any]) -> str:
    operators = [name for name in next(iter(measures.values())) if name != "all"]
    lines = []
    for name, by_operator in measures.items():
        of = by_operator["all"]
        cells = [name, of["classes"], *(_percent(of.get(what)) for what in LOSSES)]
        cells += [_percent(by_operator[operator].get("worst")) for operator in operators]
        lines.append(cells)
    words = " | ".join(f"worst: {operator}" for operator in operators)
    return _table(f"measure, width | classes | mean | worst | worst call | {words}", lines)


def ruled_out_table(cuts: Mapping[str, Any]) -> str:
    lines = []
    for cut, by_neighbours in cuts.items():
        cells: list[Any] = [f"{cut} ×"]
        for one in by_neighbours.values():
            cells += [_percent(one.get(what)) for what in ("kept", "mean", "p95", "max")]
        lines.append(cells)
    words = " | ".join(f"{name}: kept | mean | 95 % | most" for name in NEIGHBOURS)
    return _table(f"slower than | {words}", lines)


def between_table(by_tokens: Mapping[str, Any]) -> str:
    lines = [
        [tokens, rule, of["all"]["launches"]]
        + [_percent(of["all"].get(what)) for what in ("mean", "p95", "max")]
        + [of["differ"]["launches"], _percent(of["differ"].get("mean"))]
        for tokens, rules in by_tokens.items()
        for rule, of in rules.items()
    ]
    return _table(" | runs | launches | mean | 95 % | most | winners differ | mean", lines)


def _table(head: str, lines: Sequence[Sequence[Any]]) -> str:
    columns = head.count("|") + 1
    rows = [head, " | ".join(["---"] + ["---:"] * (columns - 1))]
    rows += [" | ".join(str(cell) for cell in line) for line in lines]
    return "\n".join(f"| {row} |" for row in rows)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}".replace("%", " %")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("times", type=Path, nargs="?", default=TIMES, help="the measured times")
    parser.add_argument("--out", type=Path, help="where the document goes")
    parser.add_argument("--table", action="store_true", help="print markdown tables")
    args = parser.parse_args()
    document = _rounded(measure(json.loads(args.times.read_text())))
    if args.out is not None or not args.table:
        give(document, args.out)
    if args.table:
        print(tables(document))


if __name__ == "__main__":
    main()
