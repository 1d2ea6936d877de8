"""How good winners are, by an oracle's times: regret, against the first candidate, agreement."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Winners = Mapping[str, Mapping[str, str]]


def judge(oracle: Iterable[Mapping[str, Any]], tunes: Sequence[Winners]) -> dict[str, Any]:
    """The winners of independent `tunes` by the times of `oracle` (`cold.oracle.Oracle.document`).

    A candidate's time is the median of its medians. Regret is the winner's time over the best
    candidate's, less 1; ``worse_than_first`` the same over the first candidate that can run, 0
    where the winner is not slower. ``agree`` is the share of keys that every tune gave one winner.
    """
    keys = [found for known in oracle if (found := _key(known, tunes)) is not None]
    regrets = [regret for key in keys for regret in key["regrets"]]
    worse = [value for key in keys for value in key["worse_than_first"]]
    agreed = [len(key["winners"]) == 1 for key in keys]
    return {
        "tunes": len(tunes),
        "keys": len(keys),
        "winners_unknown_to_oracle": sum(key["unknown"] for key in keys),
        "regret": {
            "median": statistics.median(regrets) if regrets else None,
            "p99": quantile(regrets, 0.99),
            "max": max(regrets, default=None),
        },
        "worse_than_first": max(worse, default=None),
        "agree": sum(agreed) / len(agreed) if agreed else None,
        "by_key": keys,
    }


def _key(known: Mapping[str, Any], tunes: Sequence[Winners]) -> dict[str, Any] | None:
    times = {
        config: statistics.median(medians)
        for config, medians in known["candidates"].items()
        if medians
    }
    found = [
        tune[known["kernel"]][known["key"]]
        for tune in tunes
        if known["key"] in tune.get(known["kernel"], {})
    ]
    if not times or not found:
        return None
    best = min(times, key=lambda config: times[config])
    first = next(iter(times))
    judged = [times[winner] for winner in found if winner in times]
    spread = [(max(m) - min(m)) / min(m) for m in known["candidates"].values() if m]
    return {
        "kernel": known["kernel"],
        "key": known["key"],
        "candidates": len(known["candidates"]),
        "best": best,
        "best_ms": times[best],
        "first_over_best": times[first] / times[best] - 1,
        # How far the oracle's own rounds are apart: regrets below it mean nothing.
        "oracle_spread": statistics.median(spread),
        "winners": dict(Counter(found).most_common()),
        "regrets": [time / times[best] - 1 for time in judged],
        "worse_than_first": [max(0.0, time / times[first] - 1) for time in judged],
        "unknown": len(found) - len(judged),
    }


def quantile(values: Sequence[float], q: float) -> float | None:
    """The least value that at least a share `q` of the values does not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


def table(document: Mapping[str, Any]) -> str:
    """The document's judgements as Markdown, a line for each arm."""
    lines = [
        "| arm | tunes | keys | regret: median | p99 | max | worse than first, at most | keys with"
        " one winner | measuring, s | calls, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm, judged in document["arms"].items():
        regret = judged["regret"]
        shares = (*regret.values(), judged["worse_than_first"], judged["agree"])
        seconds = (judged["measuring_s"], judged["calls_s"])
        cells = (
            arm,
            judged["tunes"],
            judged["keys"],
            *("–" if share is None else f"{share:.2%}" for share in shares),
            *(f"{value:.2f}" for value in seconds),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
