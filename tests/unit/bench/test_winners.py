from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.factories import make_key, put_verdict
from tests.unit.bench.documents import a_restart, a_run
from tuneonce.bench.winners import Winners, comparisons, stored_winners
from tuneonce.store import open_store

FAST_64 = {64: (0.1, 0.1, 0.1), 128: (0.2, 0.2, 0.2)}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "TUNEONCE_STORE": str(tmp_path / "store"),
        "TRITON_CACHE_DIR": str(tmp_path / "triton"),
    }


def put_file(env: dict[str, str], digest: str, document: Any, name: str = "k") -> None:
    path = Path(env["TRITON_CACHE_DIR"], digest, f"{name}.autotune.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def timed(block: int, time: Any, **more: Any) -> list[Any]:
    config = {"kwargs": {"BLOCK": block}, "num_warps": 4, "maxnreg": None, "pre_hook": None}
    return [{**config, **more}, time]


def test_nothing_is_stored(env: dict[str, str]) -> None:
    for arm in ("stock", "stock-cache", "tuneonce"):
        assert stored_winners(arm, env) is None
    Path(env["TUNEONCE_STORE"]).mkdir()
    Path(env["TRITON_CACHE_DIR"]).mkdir()
    assert stored_winners("stock", env) is None
    assert stored_winners("stock-cache", env) == stored_winners("tuneonce", env) == {}


def test_winners_in_a_store(env: dict[str, str]) -> None:
    store = open_store(env["TUNEONCE_STORE"])
    add, dot = make_key("add"), make_key("dot")
    put_verdict(store, add, FAST_64)
    put_verdict(store, add, FAST_64, winner=128, work_class="c03")
    put_verdict(store, dot, FAST_64)
    # The same key with one more candidate.
    put_verdict(store, dot, {**FAST_64, 256: (0.05, 0.05, 0.05)}, at=1_800_000_000.0)
    assert stored_winners("tuneonce", env) == {
        add.directory.split("/")[1]: {
            f"{add.digest} c02": "BLOCK=64 num_warps=4",
            f"{add.digest} c03": "BLOCK=128 num_warps=4",
        },
        dot.directory.split("/")[1]: {
            f"{dot.digest} c02": "BLOCK=64 num_warps=4",
            f"{dot.digest} c02 #2": "BLOCK=256 num_warps=4",
        },
    }


def test_a_store_that_cannot_be_read(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    assert stored_winners("tuneonce", env) is None


def test_winners_in_tritons_cache(env: dict[str, str]) -> None:
    timings = [timed(64, [0.2, 0.2, 0.3]), timed(128, [0.1, 0.1, 0.2]), timed(256, [0.1, 0.1, 0.2])]
    put_file(env, "A" * 52, {"key": [64, "torch.float16"], "configs_timings": timings})
    put_file(env, "B" * 52, {"key": [64, "torch.float16"], "configs_timings": [timed(32, 1.0)]})
    assert stored_winners("stock-cache", env) == {
        "k": {
            '[64, "torch.float16"] AAAAAAAAAAAA': "BLOCK=128 num_warps=4",
            '[64, "torch.float16"] BBBBBBBBBBBB': "BLOCK=32 num_warps=4",
        }
    }


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "[" * 100_000,
        {"key": [1]},
        {"key": [1], "configs_timings": []},
        {"key": [1], "configs_timings": None},
        {"key": [1], "configs_timings": [[1, 2]]},
        {"key": [1], "configs_timings": [[{"kwargs": 3}, 2]]},
        {"key": [1], "configs_timings": [timed(1, 1.0), timed(2, "x")]},
        {"configs_timings": [timed(1, 1.0)]},
    ],
)
def test_files_that_are_no_results_are_passed_over(env: dict[str, str], document: Any) -> None:
    put_file(env, "A" * 52, document, name="bad")
    put_file(env, "B" * 52, {"key": [], "configs_timings": [timed(64, float("inf"))]})
    assert stored_winners("stock-cache", env) == {"k": {"[] BBBBBBBBBBBB": "BLOCK=64 num_warps=4"}}


def test_how_many_winners_are_those_of_the_first_run() -> None:
    def run(number: int, winners: Winners | None, arm: str = "tuneonce", repeat: int = 1) -> Any:
        return a_run(arm, number, repeat=repeat, seconds=1, tunes=0, winners=winners)

    first = {"add": {"a": "1", "b": "2"}, "dot": {"a": "3"}}
    document = a_restart(
        run(1, first),
        run(2, first),
        run(3, {"add": {"a": "1", "b": "9"}, "new": {"a": "3"}}),
        run(4, {}),
        run(5, None),
        run(1, None, "stock"),
        run(2, None, "stock"),
        run(1, {}, "stock-cache"),
        run(2, first, "stock-cache"),
    )
    same = "stored winners that are the same as after run 1"
    assert list(comparisons(document)) == [
        f"tuneonce: {same}: run 2 3 of 3, run 3 1 of 3 (and 1 new), run 4 0 of 3."
    ]
    twice = a_restart(*(run(n, first, repeat=repeat) for repeat in (1, 2) for n in (1, 2)))
    assert list(comparisons(twice)) == [
        f"tuneonce of repeat 1: {same}: run 2 3 of 3.",
        f"tuneonce of repeat 2: {same}: run 2 3 of 3.",
    ]
