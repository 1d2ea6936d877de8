"""What the runs of a comparison come to: medians, ratios to stock, and where the time goes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

# A tuner's own account of its seconds, in its ``tune`` events, beside these two.
_WHOLE = frozenset({"t", "seconds", "compile_s"})


def summarise(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """By workload and arm; failed runs are counted and left out."""
    summary: dict[str, Any] = {}
    for run in runs:
        arms = summary.setdefault(run["workload"], {})
        arms.setdefault(run["arm"], []).append(run)
    return {name: _workload(arms) for name, arms in summary.items()}


def _workload(arms: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Any]:
    good = {arm: [run for run in runs if "failed" not in run] for arm, runs in arms.items()}
    stock = good.get("stock") or []
    found: dict[str, Any] = {}
    for arm, runs in arms.items():
        found[arm] = {"runs": len(good[arm]), "failed": len(runs) - len(good[arm])}
        if good[arm]:
            found[arm] |= _arm(good[arm])
            found[arm]["where"] = where(good[arm])
            if stock and arm != "stock":
                found[arm]["stock_over_this"] = _ratio(stock, good[arm])
                found[arm]["winners_of_stock"] = agreement(stock[0], good[arm][0])
    return found


def _arm(runs: list[Mapping[str, Any]]) -> dict[str, Any]:
    seconds = {
        name: [run[name] for run in runs] for name in ("calls_s", "process_s", "import_s")
    } | {name: [run["totals"][name] for run in runs] for name in ("tune_s", "compile_s")}
    counts = ("tunes", "candidates_measured", "compiles", "disk_loads", "hits", "provisional")
    checks = [run["outputs_ok"] for run in runs if run["outputs_ok"] is not None]
    return {
        **{name: _spread(values) for name, values in seconds.items()},
        **{name: statistics.median(run["totals"][name] for run in runs) for name in counts},
        "problems": sorted({what for run in runs for what in run["totals"]["problems"]}),
        "outputs_ok": all(checks) if checks else None,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def _ratio(stock: list[Mapping[str, Any]], ours: list[Mapping[str, Any]]) -> dict[str, float]:
    """How many times as long stock takes, by medians."""
    return {
        name: round(
            statistics.median(run[name] for run in stock)
            / max(1e-9, statistics.median(run[name] for run in ours)),
            2,
        )
        for name in ("calls_s", "process_s")
    }


def agreement(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, int]:
    """How many of the keys that two runs met have one winner."""
    pairs = [
        (winner, other["winners"][kernel][key])
        for kernel, keys in one["winners"].items()
        for key, winner in keys.items()
        if key in other["winners"].get(kernel, {})
    ]
    return {"same": sum(a == b for a, b in pairs), "of": len(pairs)}


def where(runs: list[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of the calls by what they went to, medians over runs.

    A tuner's own account, where its ``tune`` events have one; else compiling as the compiler's
    listener counts it, and the rest of tuning as measuring. ``other`` is what is outside tuning.
    """
    accounts = [_account(run) for run in runs]
    names = list(dict.fromkeys(name for account in accounts for name in account))
    return {
        name: round(statistics.median(account.get(name, 0.0) for account in accounts), 3)
        for name in names
    }


def _account(run: Mapping[str, Any]) -> dict[str, float]:
    account: dict[str, float] = {}
    for tune in run["tunes"]:
        for name, seconds in _parts(tune):
            account[name] = account.get(name, 0.0) + seconds
    tuning = run["totals"]["tune_s"]
    if account:
        account["rest of tuning"] = max(0.0, tuning - sum(account.values()))
    else:
        # Outside tuning there may be compiling, too: of kernels that have one candidate.
        compiling = run["totals"]["compile_s"]
        account["compiling"] = min(compiling, tuning) if tuning else compiling
        account["measuring"] = max(0.0, tuning - account["compiling"])
    account["other"] = max(0.0, run["calls_s"] - sum(account.values()))
    return account


def _parts(tune: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    """The parts of a tuning run's seconds: fields that end in ``_s``, also one level down."""
    for name, value in tune.items():
        if isinstance(value, Mapping):
            yield from _parts(value)
        elif name.endswith("_s") and name not in _WHOLE and isinstance(value, (int, float)):
            yield name.removesuffix("_s"), float(value)


def table(summary: Mapping[str, Any]) -> str:
    """Markdown: one line for each workload and arm, and a second table of where the time goes."""
    lines = [
        "| workload | arm | runs | calls, s | stock / this | process, s | keys tuned | candidates"
        " | compiles | winners as stock | outputs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, arms in summary.items():
        for arm, found in arms.items():
            lines.append(f"| {' | '.join(map(str, _cells(name, arm, found)))} |")
    lines += ["", "| workload | arm | where the seconds of the calls go |", "| --- | --- | --- |"]
    for name, arms in summary.items():
        for arm, found in arms.items():
            parts = [f"{part} {seconds:.2f}" for part, seconds in found.get("where", {}).items()]
            lines.append(f"| {name} | {arm} | {', '.join(parts) or '–'} |")
    return "\n".join(lines) + "\n"


def _cells(name: str, arm: str, found: Mapping[str, Any]) -> tuple[Any, ...]:
    runs = f"{found['runs']}, {found['failed']} failed" if found["failed"] else found["runs"]
    if not found["runs"]:
        return (name, arm, runs, *["–"] * 8)
    same = found.get("winners_of_stock")
    return (
        name,
        arm,
        runs,
        f"{found['calls_s']['median']:.2f}",
        found.get("stock_over_this", {}).get("calls_s", "–"),
        f"{found['process_s']['median']:.1f}",
        f"{found['tunes']:g}",
        f"{found['candidates_measured']:g}",
        f"{found['compiles']:g} ({found['compile_s']['median']:.1f} s)",
        f"{same['same']} of {same['of']}" if same else "–",
        {None: "–", True: "right", False: "WRONG"}[found["outputs_ok"]],
    )
