"""A benchmark's document as tables of text: nothing here measures or comes from elsewhere."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .result import Load, LoadResult, Restart, Run, Serve
from .winners import comparisons

Better = Literal["less", "more", "neither"]
# Below half a percent two figures are called the same; that is less than any server's noise.
_SAME = 0.005
# As wide as the name of an arm: so three arms with their ranges fit 80 characters.
_RANGE_WIDTH = 11


@dataclass(frozen=True)
class Cell:
    """`good` says whether a change is welcome; None where that is no question."""

    text: str
    good: bool | None = None


@dataclass(frozen=True)
class Grid:
    """A table as text: lines of cells in sections, one cell a column."""

    title: str
    columns: tuple[str, ...]
    sections: tuple[tuple[tuple[Cell, ...], ...], ...]


@dataclass(frozen=True)
class Row:
    """One line of a table; `get` returns None where a run cannot tell.

    An `optional` one is left out where no run of the document can. A `compiled` one is about what
    the compiler makes, and no figure in Triton's interpreter, which has none.
    """

    label: str
    get: Callable[[Run], float | None]
    digits: int
    better: Better
    optional: bool = False
    compiled: bool = False


def _counted(name: str) -> Callable[[Run], float | None]:
    return lambda run: None if run.events is None else getattr(run.events, name)


def _while_serving(name: str) -> Callable[[Run], float | None]:
    # Not known where no process said when its start-up was over.
    counted = _counted(name)
    return lambda run: counted(run) if run.events is not None and run.events.ready else None


# Labels and order as vLLM prints them.
_LOAD_ROWS = (
    Row("Successful requests", lambda run: run.successful, 0, "neither"),
    Row("Failed requests", lambda run: run.failed, 0, "less"),
    Row("Requests of a new length", lambda run: run.new_lengths, 0, "neither", optional=True),
    Row("Benchmark duration (s)", lambda run: run.duration_s, 2, "less"),
    Row("Request throughput (req/s)", lambda run: run.request_throughput, 2, "more"),
    Row("Output token throughput (tok/s)", lambda run: run.output_token_throughput, 2, "more"),
    Row("Total token throughput (tok/s)", lambda run: run.total_token_throughput, 2, "more"),
    Row("Mean TTFT (ms)", lambda run: run.ttft_ms.mean, 2, "less"),
    Row("Median TTFT (ms)", lambda run: run.ttft_ms.median, 2, "less"),
    Row("P99 TTFT (ms)", lambda run: run.ttft_ms.p99, 2, "less"),
)
# In these tunes and compiles are included in whichever of start and load they happened.
_SERVER_ROWS = (
    Row("Start to healthy (s)", lambda run: run.startup_s, 2, "less"),
    Row(
        "Engine init (s)",
        lambda run: max(run.engine_init_s) if run.engine_init_s else None,
        2,
        "less",
        optional=True,
    ),
    Row("Tunes", _counted("tunes"), 0, "less"),
    Row("Candidates measured", _counted("candidates_measured"), 0, "less"),
    Row("Compiles", _counted("compiles"), 0, "less", compiled=True),
    Row("Disk loads", _counted("disk_loads"), 0, "neither", compiled=True),
    Row("Seconds tuning", _counted("tune_s"), 2, "less"),
    Row("Seconds compiling", _counted("compile_s"), 2, "less", compiled=True),
    Row("Seconds loading", _counted("load_s"), 2, "less", compiled=True),
    # What requests met after the server had said that it is ready.
    Row("Tunes while serving", _while_serving("serving_tunes"), 0, "less", optional=True),
    Row(
        "Compiles while serving",
        _while_serving("serving_compiles"),
        0,
        "less",
        optional=True,
        compiled=True,
    ),
    Row("Seconds waited while serving", _while_serving("serving_s"), 2, "less", optional=True),
)
# What was done before a run; other versions may know more than these.
_AFTER = {
    "restart": "after a restart",
    "empty-triton-cache": "Triton's cache emptied",
    "empty-store": "tuneonce's store emptied",
}
_COLD_LABELS = ("Benchmark duration (s)", "P99 TTFT (ms)", *(row.label for row in _SERVER_ROWS))


def headline(document: Restart) -> Iterator[str]:
    """What was run, where: two lines."""
    machine, gpu, versions = document.machine, document.gpu, document.versions
    where = f"{gpu.count} x {gpu.name}, driver {gpu.driver}; " if gpu is not None else "no GPU; "
    where += f"{machine.cpu_usable} CPUs ({machine.cpu_model or 'unknown'})"
    what = [f"{name} {version}" for name, version in versions.items() if version is not None]
    yield f"{describe_load(document.load)}; repeats: {document.repeats}"
    yield "; ".join([where, *what, f"tuneonce {document.tuneonce}"])


def describe_load(load: Load) -> str:
    """The load in one line."""
    at_once = f"{load.max_concurrency} at a time" if load.max_concurrency else "all at once"
    unit = "tokens" if load.prompt_format == "tokens" else "words"
    length = f"{load.input_len}"
    if load.input_len_to is not None:
        length += f" to {load.input_len_to}"
    return (
        f"{load.num_prompts} prompts of {length} random {unit}, "
        f"{load.output_len} tokens out, {at_once}"
    )


def run_grids(document: Restart) -> Iterator[Grid]:
    """A grid for every run that there is: the last restart first, the cold start, then the rest."""
    usual = document.runs_per_repeat
    for run in (*range(usual, 0, -1), *range(usual + 1, usual + len(document.then) + 1)):
        if any(r.run == run for r in document.runs):
            yield _run_grid(document, run=run)


def _run_grid(document: Restart, *, run: int) -> Grid:
    compared = "stock" in document.arms and "tuneonce" in document.arms
    # The cold start has the smaller table: it is the price, not the point.
    short = run == 1 and document.runs_per_repeat > 1
    sections = []
    for rows in (_LOAD_ROWS, _SERVER_ROWS):
        lines = []
        for row in rows:
            if short and row.label not in _COLD_LABELS:
                continue
            if row.optional and all(row.get(r) is None for r in document.runs):
                continue
            values = {arm: _values(document, row, arm=arm, run=run) for arm in document.arms}
            cells = [Cell(row.label), *(_cell(values[arm], row.digits) for arm in document.arms)]
            if compared:
                cells.append(_change(row.better, values["stock"], values["tuneonce"]))
            lines.append(tuple(cells))
        sections.append(tuple(lines))
    return Grid(
        title=_title(document, run),
        columns=("", *document.arms, *(["tuneonce vs stock"] if compared else [])),
        sections=tuple(sections),
    )


def _title(document: Restart, run: int) -> str:
    if run == 1:
        what = "cold start"
    elif run <= document.runs_per_repeat:
        what = "after a restart"
    else:
        after = document.then[run - document.runs_per_repeat - 1]
        what = _AFTER.get(after, after)
    interpreted = " (interpreted: nothing is compiled)" if document.interpreted else ""
    return f"Run {run}: {what}{interpreted}"


def serve_grid(document: Serve) -> Grid:
    """All figures of one load under vLLM's labels."""
    result, at_once = document.result, document.load.max_concurrency
    counts = [
        ("Successful requests", f"{result.successful:,}"),
        ("Failed requests", f"{result.failed:,}"),
        *([("Maximum request concurrency", f"{at_once:,}")] if at_once is not None else []),
        ("Benchmark duration (s)", f"{result.duration_s:,.2f}"),
        ("Total input tokens", f"{result.total_input_tokens:,}"),
        ("Total generated tokens", f"{result.total_output_tokens:,}"),
        ("Request throughput (req/s)", f"{result.request_throughput:,.2f}"),
        ("Output token throughput (tok/s)", f"{result.output_token_throughput:,.2f}"),
        ("Total token throughput (tok/s)", f"{result.total_token_throughput:,.2f}"),
    ]
    spreads = {"TTFT": result.ttft_ms, "TPOT": result.tpot_ms, "ITL": result.itl_ms}
    times = [
        [
            (f"Mean {name} (ms)", _number(spread.mean, 2)),
            (f"Median {name} (ms)", _number(spread.median, 2)),
            (f"P99 {name} (ms)", _number(spread.p99, 2)),
        ]
        for name, spread in spreads.items()
    ]
    return Grid(
        title="Serving Benchmark Result",
        columns=("", ""),
        sections=tuple(
            tuple((Cell(label), Cell(value)) for label, value in section)
            for section in (counts, *times)
        ),
    )


def footnotes(document: Restart) -> Iterator[str]:
    """What a reader of the tables must know."""
    if not document.complete:
        yield "This benchmark did not run to its end; the tables show what there is."
    if document.repeats > 1:
        yield f"Medians of {document.repeats} repeats; lowest and highest below."
    for run in document.runs:
        for line in error_lines(run):
            repeat = f" of repeat {run.repeat}" if document.repeats > 1 else ""
            yield f"{run.arm}, run {run.run}{repeat}: {line}"
    if any(run.engine_init_s for run in document.runs):
        yield "Engine init is what vLLM's log says, of the slowest engine core."
    yield from comparisons(document)
    yield from _same_text(document)
    yield from document.notes


def _same_text(document: Restart) -> Iterator[str]:
    texts: dict[int, set[str | None]] = {}
    for run in document.runs:
        # Prompts of other lengths have other answers.
        number = 0 if document.load.input_len_to is None else run.run
        texts.setdefault(number, set()).add(run.output_digest)
    same = all(len(digests) == 1 and None not in digests for digests in texts.values())
    if same and len(document.runs) > len(texts):
        every = "Every run of every arm" if 0 in texts else "In each run every arm"
        yield f"{every} generated the same text."


def error_lines(result: LoadResult) -> Iterator[str]:
    """The errors of failed requests, the most frequent first."""
    for error, count in result.errors.items():
        yield f"{count} failed: {error}"


def _values(document: Restart, row: Row, *, arm: str, run: int) -> list[float]:
    if row.compiled and document.interpreted:
        return []
    found = (row.get(r) for r in document.runs if r.arm == arm and r.run == run)
    return [value for value in found if value is not None]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _cell(values: Sequence[float], digits: int) -> Cell:
    if not values:
        return Cell("–")
    middle = _number(statistics.median(values), digits)
    if min(values) == max(values):
        return Cell(middle)
    lowest, highest = _short(min(values), digits), _short(max(values), digits)
    gap = "–" if len(lowest) + len(highest) < _RANGE_WIDTH else "–\n"
    return Cell(f"{middle}\n{lowest}{gap}{highest}")


def _short(value: float, digits: int) -> str:
    """At least two significant digits, and no more than needed: ranges take space."""
    return _number(value, min(digits, 0 if value >= 100 else 1 if value >= 10 else 2))


def _change(better: Better, before: Sequence[float], after: Sequence[float]) -> Cell:
    if not before or not after:
        return Cell("–")
    old, new = statistics.median(before), statistics.median(after)
    if abs(new - old) <= _SAME * abs(old):
        return Cell("same")
    if old == 0 or new == 0:
        text = "none left" if new == 0 else "new"
    else:
        text = f"{new / old:.2f}x more" if new > old else f"{old / new:.2f}x less"
    if better == "neither":
        return Cell(text)
    return Cell(text, good=(new < old) == (better == "less"))
