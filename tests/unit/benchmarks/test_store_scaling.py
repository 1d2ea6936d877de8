"""The benchmark of the store works; its numbers are measured by hand, not in a test."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes import run_python

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "store_scaling.py"


def test_it_prints_one_document_and_leaves_nothing(tmp_path: Path) -> None:
    options = ["--records", "60", "10", "--samples", "20", "--directory", str(tmp_path)]
    out = run_python(SCRIPT, *options)
    document = json.loads(out)
    assert document["schema"] == "tuneonce.benchmark.store-scaling/1"
    assert document["command"].endswith(" ".join(options))
    assert [(size["records"], size["keys"]) for size in document["sizes"]] == [(10, 1), (60, 6)]
    for size in document["sizes"]:
        assert set(size["timings"]) >= {"get_hit", "get_miss", "put_if_absent", "list_key"}
        for timing in size["timings"].values():
            assert 0 < timing["median"] <= timing["p99"]
    assert list(tmp_path.iterdir()) == []
