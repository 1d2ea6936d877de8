from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.unit.bench.documents import LOAD, a_restart, a_run, while_serving
from tuneonce.bench.result import Gpu, LoadResult, Restart, Serve
from tuneonce.bench.table import Grid, footnotes, headline, run_grids, serve_grid
from tuneonce.cli._bench_view import draw


def cells(grid: Grid) -> dict[str, list[str]]:
    return {
        line[0].text: [cell.text for cell in line[1:]] for part in grid.sections for line in part
    }


def welcome(grid: Grid) -> dict[str, bool | None]:
    return {line[0].text: line[-1].good for part in grid.sections for line in part}


TWO_ARMS = a_restart(
    a_run("stock", 1, seconds=40, tunes=5),
    a_run("stock", 2, seconds=30, tunes=5),
    a_run("tuneonce", 1, seconds=40.1, tunes=5),
    a_run("tuneonce", 2, seconds=10, tunes=0),
)


def test_the_restart_comes_first_and_the_cold_start_is_short() -> None:
    second, first = run_grids(TWO_ARMS)
    assert (second.title, first.title) == ("Run 2: after a restart", "Run 1: cold start")
    assert second.columns == ("", "stock", "tuneonce", "tuneonce vs stock")
    assert list(cells(second)) == [
        "Successful requests",
        "Failed requests",
        "Benchmark duration (s)",
        "Request throughput (req/s)",
        "Output token throughput (tok/s)",
        "Total token throughput (tok/s)",
        "Mean TTFT (ms)",
        "Median TTFT (ms)",
        "P99 TTFT (ms)",
        "Start to healthy (s)",
        "Tunes",
        "Candidates measured",
        "Compiles",
        "Disk loads",
        "Seconds tuning",
        "Seconds compiling",
        "Seconds loading",
    ]
    assert "Mean TTFT (ms)" not in cells(first)
    assert "P99 TTFT (ms)" in cells(first)


def test_changes_against_stock() -> None:
    second, first = run_grids(TWO_ARMS)
    assert cells(second)["Benchmark duration (s)"] == ["30.00", "10.00", "3.00x less"]
    assert cells(second)["Total token throughput (tok/s)"] == ["0.67", "2.00", "3.00x more"]
    assert cells(second)["P99 TTFT (ms)"] == ["5,970.00", "1,990.00", "3.00x less"]
    assert cells(second)["Tunes"] == ["5", "0", "none left"]
    assert cells(second)["Successful requests"] == ["2", "2", "same"]
    good = welcome(second)
    assert good["Benchmark duration (s)"] is True
    assert good["Total token throughput (tok/s)"] is True
    assert good["Tunes"] is True
    assert good["Successful requests"] is None
    assert cells(first)["Benchmark duration (s)"][-1] == "same"


def test_worse_is_said_too() -> None:
    document = a_restart(
        a_run("stock", 2, seconds=10, tunes=0), a_run("tuneonce", 2, seconds=20, tunes=3)
    )
    (grid,) = run_grids(document)
    assert cells(grid)["Benchmark duration (s)"][-1] == "2.00x more"
    assert cells(grid)["Tunes"][-1] == "new"
    assert welcome(grid)["Benchmark duration (s)"] is False
    assert welcome(grid)["Total token throughput (tok/s)"] is False
    assert welcome(grid)["Tunes"] is False


def test_repeats_show_median_and_range() -> None:
    seconds = (10.0, 30.0, 11.0)
    document = a_restart(
        *(a_run("tuneonce", 2, repeat=n + 1, seconds=s, tunes=0) for n, s in enumerate(seconds))
    )
    (grid,) = run_grids(document)
    assert grid.columns == ("", "tuneonce")
    assert cells(grid)["Benchmark duration (s)"] == ["11.00\n10.0–30.0"]
    assert any("Medians of 3 repeats" in note for note in footnotes(document))


def test_what_nobody_counted_is_not_zero() -> None:
    document = a_restart(
        a_run("stock", 2, seconds=10, tunes=0, events=None),
        a_run("tuneonce", 2, seconds=10, tunes=0),
    )
    (grid,) = run_grids(document)
    assert cells(grid)["Tunes"] == ["–", "0", "–"]


def test_the_slowest_engine_core_counts() -> None:
    document = a_restart(
        a_run("stock", 2, seconds=10, tunes=0),
        a_run("tuneonce", 2, seconds=10, tunes=0, engine_init_s=[2.0, 3.5]),
    )
    (grid,) = run_grids(document)
    assert cells(grid)["Engine init (s)"] == ["–", "3.50", "–"]
    assert "Engine init is what vLLM's log says, of the slowest engine core." in footnotes(document)


def test_what_was_done_while_serving() -> None:
    document = a_restart(
        while_serving(a_run("stock", 2, seconds=10, tunes=3), tunes=2, compiles=4),
        # Without a ready event, 0 would be a claim.
        a_run("tuneonce", 2, seconds=10, tunes=0),
    )
    (grid,) = run_grids(document)
    assert cells(grid)["Tunes while serving"] == ["2", "–", "–"]
    assert cells(grid)["Compiles while serving"] == ["4", "–", "–"]
    assert cells(grid)["Seconds waited while serving"] == ["1.50", "–", "–"]


def test_where_nothing_is_compiled_no_figure_says_so() -> None:
    document = a_restart(
        while_serving(a_run("stock", 2, seconds=10, tunes=3), tunes=3, compiles=0),
        while_serving(a_run("tuneonce", 2, seconds=10, tunes=0), tunes=0, compiles=0),
        interpreted=True,
    )
    (grid,) = run_grids(document)
    assert grid.title == "Run 2: after a restart (interpreted: nothing is compiled)"
    found = cells(grid)
    nothing = {label for label, shown in found.items() if set(shown) == {"–"}}
    compiled = {"Compiles", "Disk loads", "Seconds compiling", "Seconds loading"}
    assert nothing == compiled | {"Compiles while serving"}
    assert found["Tunes while serving"] == ["3", "0", "none left"]


def test_requests_of_a_new_length() -> None:
    load = msgspec.structs.replace(LOAD, input_len_to=12)
    cold = [a_run(arm, 1, seconds=9, tunes=1, new_lengths=2) for arm in ("stock", "tuneonce")]
    again = [
        a_run(arm, 2, seconds=9, tunes=0, new_lengths=1, output_digest="d2")
        for arm in ("stock", "tuneonce")
    ]
    document = a_restart(*cold, *again, load=load)
    second, first = run_grids(document)
    assert cells(second)["Requests of a new length"] == ["1", "1", "same"]
    assert "Requests of a new length" not in cells(first)
    assert next(headline(document)).startswith("2 prompts of 8 to 12 random tokens")
    assert list(footnotes(document)) == ["In each run every arm generated the same text."]
    other = a_run("tuneonce", 2, seconds=9, tunes=0, output_digest="d3")
    assert list(footnotes(a_restart(*cold, again[0], other, load=load))) == []


def test_runs_after_something_was_emptied_come_last() -> None:
    document = a_restart(
        *(a_run("tuneonce", run, seconds=10, tunes=0) for run in (1, 2, 3, 4, 5)),
        then=["empty-triton-cache", "empty-store", "washed"],
    )
    assert [grid.title for grid in run_grids(document)] == [
        "Run 2: after a restart",
        "Run 1: cold start",
        "Run 3: Triton's cache emptied",
        "Run 4: tuneonce's store emptied",
        "Run 5: washed",
    ]


def test_footnotes() -> None:
    failing = a_run(
        "stock", 2, seconds=10, tunes=0, failed=3, errors={"HTTP 500": 3}, output_digest=None
    )
    notes = list(footnotes(a_restart(failing, complete=False, notes=["As noted."])))
    assert notes == [
        "This benchmark did not run to its end; the tables show what there is.",
        "stock, run 2: 3 failed: HTTP 500",
        "As noted.",
    ]
    assert list(footnotes(TWO_ARMS)) == ["Every run of every arm generated the same text."]


def test_headline() -> None:
    load, where = headline(TWO_ARMS)
    assert load == "2 prompts of 8 random tokens, 2 tokens out, 2 at a time; repeats: 1"
    assert where == "no GPU; 2 CPUs (A CPU); torch 2.0; triton 3.0; tuneonce 0.1.0"
    gpu = Gpu(name="NVIDIA H200", count=2, driver="570.1")
    _, where = headline(msgspec.structs.replace(TWO_ARMS, gpu=gpu))
    assert where.startswith("2 x NVIDIA H200, driver 570.1; 2 CPUs")


MANY = a_restart(
    *(
        a_run(arm, run, repeat=repeat, seconds=seconds * run, tunes=3)
        for arm in ("stock", "stock-cache", "tuneonce")
        for repeat, seconds in ((1, 40.123), (2, 43.21))
        for run in (1, 2)
    )
)


@pytest.mark.parametrize("document", [TWO_ARMS, MANY, a_restart()])
def test_everything_fits_a_narrow_terminal(document: Restart) -> None:
    console = Console(width=80, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    with console.file:
        draw(document, console)
    text = console.export_text(clear=False)
    assert "…" not in text
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines() if "TTFT" in line)


def test_text_of_an_error_is_not_markup() -> None:
    run = a_run("stock", 2, seconds=1, tunes=0, failed=1, errors={"[red]no[/red] [/oops]": 1})
    with Path("/dev/null").open("w") as nowhere:
        console = Console(width=80, record=True, file=nowhere)
        draw(a_restart(run), console)
        assert "[red]no[/red] [/oops]" in console.export_text()


def test_a_load_alone() -> None:
    run = a_run("", 1, seconds=2, tunes=0)
    result = LoadResult(**{name: getattr(run, name) for name in LoadResult.__struct_fields__})
    document = Serve(
        created=TWO_ARMS.created,
        tuneonce="0.1.0",
        command=[],
        base_url="http://there",
        machine=TWO_ARMS.machine,
        load=LOAD,
        result=result,
    )
    found = cells(serve_grid(document))
    assert found["Maximum request concurrency"] == ["2"]
    assert found["P99 TTFT (ms)"] == ["398.00"]
    assert found["P99 ITL (ms)"] == ["–"]
