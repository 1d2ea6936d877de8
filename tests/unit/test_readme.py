"""What the README says is what the results hold, and its commands exist."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuneonce.cli import COMMANDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


# Of `cold.run_options`, which the scripts share.
RUN_OPTIONS = {"--timeout", "--within", "--add", "--table", "--simulated", "--limit", "--at-most"}


def result(name: str) -> Any:
    return json.loads((ROOT / "benchmarks/results" / name).read_text(encoding="utf-8"))


def rows(heading: str) -> list[list[str]]:
    """The cells of the README's rows that start with `heading`."""
    lines = [line for line in README.splitlines() if line.startswith(f"| {heading} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]


@pytest.mark.parametrize(
    ("heading", "arm"),
    [
        ("stock Triton", "stock"),
        ("stock Triton, its own cache on", "stock-cache"),
        ("tuneonce", "tuneonce"),
    ],
)
def test_the_table_of_starts(heading: str, arm: str) -> None:
    document = result("fla-restart-h200.json")
    seconds = {run["start"]: run["calls_s"] for run in document["runs"] if run["arm"] == arm}
    changed = {
        kept["of"] - kept["same"]
        for name, kept in document["winners_kept"].items()
        if name.startswith(f"{arm} start")
    }
    [cells] = rows(heading)
    assert cells[:2] == [f"{seconds[1]:.1f}", f"{seconds[2]:.2f}"]
    assert cells[2] == ("none" if changed == {0} else f"{max(changed)} of 12")


def test_the_later_row_of_starts() -> None:
    document = result("fla-restart-emptied-h200.json")
    first, second, emptied = (run["calls_s"] for run in document["runs"])
    assert [run["emptied"] for run in document["runs"]] == [False, False, True]
    assert all(kept["same"] == kept["of"] == 12 for kept in document["winners_kept"].values())
    assert rows("tuneonce, later and alone") == [[f"{first:.1f}", f"{second:.2f}", "none"]]
    assert f"third start took {emptied:.2f} s" in README


def test_the_tables_are_of_commits() -> None:
    for name in ("fla-restart-h200.json", "demo-h200.json", "far-store.json", "fleet-traffic.json"):
        assert re.fullmatch(r"[0-9a-f]{12}", result(name)["commit"])


def test_what_users_wait_for() -> None:
    arms = result("new-keys-h200.json")["arms"]
    stock = result("new-keys-before-slices-h200.json")["arms"]["stock"]
    text = " ".join(README.split())
    longest = {name: f"{arm['new_ms']['max'] / 1000:.1f} s" for name, arm in arms.items()}
    assert f"{longest['explore']} where tuning took {longest['tune']} on an H200" in text
    assert f"stock Triton {stock['new_ms']['max'] / 1000:.0f} s in an earlier run" in text
    known = {name: f"{arm['known_ms']['p50']:.2f}" for name, arm in arms.items()}
    assert f"{known['explore']} ms at the median instead of {known['borrow']}" in text
    most = {name: f"{arm['known_ms']['max']:.1f}" for name, arm in arms.items()}
    assert f"{most['explore']} ms at most instead of {most['borrow']}" in text
    page = (ROOT / "docs/decisions/0034-what-serves-explores.md").read_text(encoding="utf-8")
    for name, arm in arms.items():
        cells = [f"{arm[of]['p50']:.2f}" for of in ("start_ms", "known_ms")]
        assert all(f"| {cell} |" in page.split(f"| `{name}` |")[-1] for cell in cells)


def test_the_table_of_a_served_operator() -> None:
    sizes = result("work-classes-gated-delta-rule-h200.json")["operators"]["gated_delta_rule"]
    page = (ROOT / "docs/decisions/0045-a-winner-for-each-work-class.md").read_text("utf-8")
    order = [
        "64",
        "128",
        "512",
        "1024",
        "2048",
        "5000",
        "8192",
        "20000",
        "32768",
        "16x128",
        "8192+4096+2048+1024+1024",
    ]
    rows = {"stock": "warmed up with 64 tokens, stock", "learning": "served"}
    for arm, name in {**rows, "second": "its second start"}.items():
        losses = [sizes["sizes"][size]["loss"][arm] for size in order]
        cells = " | ".join(f"{round(100 * loss) or 0} %" for loss in losses)
        assert f"| {name} | {cells} |" in page
    text = " ".join(README.split())
    losses = {size: sizes["sizes"][size]["loss"] for size in order}
    large = [losses[size] for size in ("2048", "5000", "8192", "20000", "32768")]
    stock = [round(100 * one["stock"]) for one in large]
    assert f"warm-up loses {min(stock)} to {max(stock)} %" in text
    served = max(round(100 * one["learning"]) for one in large)
    assert f"within {served} % of being tuned at 2,048 to 32,768 tokens" in text
    behind = [round(100 * losses[size]["learning"]) for size in ("128", "512")]
    assert f"At 128 and 512 tokens it was {behind[0]} and {behind[1]} % behind" in text


def test_the_tables_of_ranks_on_one_gpu() -> None:
    names = ("ranks-one-gpu-h200.json", "ranks-one-gpu-stock-h200.json")
    starts = [start for name in names for start in result(name)["starts"]]
    for name in ("docs/how-it-works.md", "docs/decisions/0036-one-rank-measures.md"):
        page = (ROOT / name).read_text(encoding="utf-8")
        _, table = page.split("| --- | --- | ---: | ---: | ---: | ---: |\n")
        for start, line in zip(starts, table.splitlines(), strict=False):
            together = start["keys_with_one_winner"]
            cells = [
                ", ".join(f"{seconds:.1f}" for seconds in start["calls_s"]),
                str(sum(start["measurements"])),
                str(sum(start["compiles"])),
                f"{together} of {start['keys']}" if start["ranks"] > 1 else "",
            ]
            assert [cell.strip() for cell in line.split("|")[3:-1]] == cells


def test_the_starts_of_vllm_in_default_mode() -> None:
    page = (ROOT / "docs/vllm.md").read_text(encoding="utf-8")
    for model in ("qwen35", "qwen3next"):
        for start in result(f"vllm-{model}-default-starts-h200.json")["starts"]:
            counts = start["counts"]
            waits = " · ".join(f"{load['ttft_ms']['p99']:,.0f}" for load in start["loads"])
            cells = [
                f"{start['engine_init_s'][0]:.1f} s",
                str(counts["starting"].get("tune", 0)),
                # What a request waits for is compiled, and then loaded.
                str(counts["serving"].get("module_load", 0)),
                waits,
            ]
            assert f"| {' | '.join(cells)} |\n" in page
            assert [load["successful"] for load in start["loads"]] == [192] * 3


@pytest.mark.parametrize(
    ("heading", "value"),
    [
        ("Tunes", lambda run: f"{run['events']['tunes']}"),
        ("Benchmark duration (s)", lambda run: f"{run['duration_s']:.2f}"),
        ("Mean TTFT (ms)", lambda run: f"{run['ttft_ms']['mean']:,.0f}"),
        ("P99 TTFT (ms)", lambda run: f"{run['ttft_ms']['p99']:,.0f}"),
    ],
)
def test_the_table_of_the_demo(heading: str, value: Any) -> None:
    runs = {run["arm"]: run for run in result("demo-h200.json")["runs"] if run["run"] == 2}
    [cells] = rows(heading)
    assert cells == [value(runs[arm]) for arm in ("stock", "stock-cache", "tuneonce")]


def test_the_worst_winners_of_the_model() -> None:
    page = (ROOT / "docs/how-the-tuner-decides.md").read_text(encoding="utf-8")
    arms = result("race-simulated.json")["arms"]
    worst = {name: f"{100 * arm['regret']['p100']:.1f} %" for name, arm in arms.items()}
    told = " | ".join(worst[name] for name in ("race", "stock", "rule, endless samples"))
    assert f"| – worst of 4,000 tunes | {told} |" in page
    wrong = arms["race, random prior"]["regret"]
    assert f"was {100 * wrong['p100']:.0f} % slower than the best" in page
    assert f"a thousand {100 * wrong['p99.9']:.0f} % or more" in page
    assert worst["race, right prior"] == worst["race, near prior"] == "5.6 %"
    assert (worst["race, reversed prior"], worst["race, resumed"]) == ("2.4 %", "3.0 %")


def later_starts(arm: str) -> list[float]:
    """Seconds of the engine's start, of starts in vLLM's default mode that found everything."""
    return [
        run["engine_init_s"][0]
        for name in (
            "vllm-default-h200.json",
            "vllm-default-tuneonce-h200.json",
            "vllm-default-again-h200.json",
            "vllm-qwen3next-default-h200.json",
            "vllm-qwen3next-default-three-starts-h200.json",
        )
        for run in result(name)["runs"]
        if run["arm"] == arm and run["run"] > 1 and run["after"] in (None, "restart")
    ]


def test_the_later_starts_of_vllm() -> None:
    page = " ".join((ROOT / "docs/vllm.md").read_text(encoding="utf-8").split())
    ours, stock = later_starts("tuneonce"), later_starts("stock-cache")
    assert (len(ours), len(stock)) == (6, 5)
    for seconds, text in ((ours, "(six starts, mean {:.1f})"), (stock, "(five, {:.1f})")):
        told = f"{min(seconds):.1f} to {max(seconds):.1f} s "
        assert told + text.format(sum(seconds) / len(seconds)) in page


def test_every_command_and_target_that_it_names_exists() -> None:
    commands = set(re.findall(r"`?tuneonce ([a-z]+)\b", README)) - {"keeps"}
    assert commands <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z-]+)$", README, re.MULTILINE)):
        assert f"\n{target}:" in makefile


def without_code(page: Path) -> str:
    """The page's text less its blocks of code, where brackets mean something else."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)


def test_every_link_leads_somewhere() -> None:
    pages = [ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md"), (ROOT / "examples").rglob("*.md")]
    broken = [
        f"{page.name}: {link}"
        for page in itertools.chain(*pages)
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", without_code(page))
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_the_python_of_the_quickstart_runs() -> None:
    text = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
    [snippet] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    check = snippet + "\nassert tuneonce.is_installed()\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", check], check=True, env=environment)


def test_no_page_installs_what_is_not_published() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert [p.name for p in pages if "pip install tuneonce" in p.read_text(encoding="utf-8")] == []


def test_the_scripts_that_pages_name_take_the_arguments_that_are_printed() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    printed = re.compile(r"python benchmarks/(\w+\.py)((?: +[^`#\s|]+)*)")
    for page in pages:
        for script, words in printed.findall(page.read_text(encoding="utf-8")):
            source = (ROOT / "benchmarks" / script).read_text(encoding="utf-8")
            options = set(re.findall(r"--[a-z-]+", words))
            assert {o for o in options if f'"{o}"' not in source} <= RUN_OPTIONS, (page, script)
            if 'add_argument("out"' in source:
                assert re.match(r" [\w./-]+\.json\b", words), f"{page.name}: {script} needs a file"
