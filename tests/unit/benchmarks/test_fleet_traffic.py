"""The benchmark of a fleet works, and what it counts grows with the fleet as it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.servers import need
from tests.fakes import run_python

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "benchmarks" / "fleet_traffic.py"


@pytest.mark.slow
def test_it_prints_one_document(tmp_path: Path) -> None:
    need(program="redis-server", module="moto")
    options = "--keys 2 --warm-keys 4 --machines 2 3 4 --check 5 --tune-s 1"
    document = json.loads(run_python(SCRIPT, *options.split()))
    assert document["schema"] == "tuneonce.benchmark.fleet_traffic/1"
    assert document["command"].endswith(options)
    assert len(document["results"]) == 2 * 2 * 4
    kinds = {(line["engine"], line["fleet"]) for line in document["lines"]}
    assert kinds == {("redis", "cold"), ("redis", "warm"), ("s3", "cold"), ("s3", "warm")}
    for line in document["lines"]:
        [checked] = line["of"]["requests"]["checked"]
        # With as many machines as keys, or more, all are alike but those that measure.
        assert checked["counted"] == checked["said"]


def test_the_table_is_that_of_the_document() -> None:
    page = (ROOT / "docs/fleet.md").read_text(encoding="utf-8")
    document = json.loads((ROOT / "benchmarks/results/fleet-traffic.json").read_text("utf-8"))
    for line in document["lines"]:
        requests, received = line["of"]["requests"], line["of"]["received"]
        each = requests["machine"] / line["keys"]
        row = [
            f"{line['engine'].title() if line['engine'] == 'redis' else 'S3'}, {line['fleet']}",
            f"{requests['machine']:.0f}",
            f"{each:.1f}" if each > 1 else f"{each:.2f}",
            f"{received['machine'] / 1000:.0f}",
            f"{received['machine'] / 1000 / line['keys']:.1f}",
            f"{requests['thousand']:,} requests, {received['thousand'] / 1e6:.0f} MB",
        ]
        assert f"| {' | '.join(row)} |" in page
        if line["engine"] == "redis":
            net = f"{line['of']['net_received']['thousand'] / 1e6:.0f} MB"
            assert net in page
        if line["fleet"] == "cold":
            together = f"{line['of']['sent']['fleet'] / 1000:.0f} KB"
            assert together in page
            words = "" if line["engine"] == "redis" else "requests "
            assert f"[{each:.0f} {words}for a cold key and machine]" in page


def test_the_figures_of_the_document_are_on_lines() -> None:
    file = ROOT / "benchmarks/results/fleet-traffic.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    for line in document["lines"]:
        for found in line["of"].values():
            [checked] = found["checked"]
            assert checked["machines"] == 200
            assert checked["said"] == pytest.approx(checked["counted"], rel=0.02, abs=1)
