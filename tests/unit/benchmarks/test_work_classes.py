"""The parts of benchmarks/work_classes.py that run no kernel."""

from __future__ import annotations

import importlib
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import ROOT


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of the benchmarks as the script does."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def figures(part: Callable[[str], Any]) -> Any:
    return part("classes.figures")


# -- sizes and the stream ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "lengths", "packed"),
    [
        ("64", [64], False),
        ("3x128", [128, 128, 128], True),
        ("1x64", [64], True),
        ("8192+4096", [8192, 4096], True),
        ("2x8+5", [8, 8, 5], True),
    ],
)
def test_a_size_says_its_sequences(
    figures: Any, size: str, lengths: list[int], packed: bool
) -> None:
    assert figures.lengths(size) == lengths
    assert figures.is_packed(size) is packed


@pytest.mark.parametrize("size", ["", "0", "-4", "x8", "0x8", "8+", "many"])
def test_what_is_no_size_is_refused(figures: Any, size: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        figures.lengths(size)


def stream(figures: Any, calls: int = 4000, **changes: Any) -> list[str]:
    given = {"least": 64, "most": 32768, "packed": 0.25, "seed": 1, **changes}
    found: list[str] = figures.stream(calls, **given)
    return found


def test_a_stream_is_the_same_for_the_same_seed(figures: Any) -> None:
    assert stream(figures) == stream(figures)
    assert stream(figures) != stream(figures, seed=2)


def test_a_stream_has_as_many_calls_of_each_octave(figures: Any) -> None:
    tokens = [sum(figures.lengths(size)) for size in stream(figures)]
    assert len(tokens) == 4000
    assert min(tokens) >= 64
    assert max(tokens) <= 32768
    octaves = [int(math.log2(count / 64)) for count in tokens]
    assert all(350 < octaves.count(octave) < 550 for octave in range(9))


def test_a_share_of_the_stream_is_packed(figures: Any) -> None:
    packed = [size for size in stream(figures) if figures.is_packed(size)]
    assert 850 < len(packed) < 1150
    assert all(2 <= len(figures.lengths(size)) <= 8 for size in packed)
    assert not any(map(figures.is_packed, stream(figures, packed=0.0)))


def test_a_stream_leaves_out_what_is_held_out(figures: Any) -> None:
    found = stream(figures, 500, least=10, most=20, without={12, 20})
    tokens = {sum(figures.lengths(size)) for size in found}
    assert tokens == set(range(10, 21)) - {12, 20}


# -- latencies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)]
)
def test_percentiles_are_values_that_were_there(figures: Any, percent: float, value: int) -> None:
    assert figures.percentile(list(range(100, 0, -1)), percent) == value


def test_calls_are_compared_with_calls_of_about_their_size(figures: Any) -> None:
    assert figures.bucket("64") == figures.bucket("90") != figures.bucket("91")
    assert figures.bucket("64") != figures.bucket("2x32") == figures.bucket("60+30")


def test_the_longest_calls_stand_beside_their_neighbours(figures: Any) -> None:
    calls = [("64", 1.0 + number / 100) for number in range(20)]
    calls += [("32768", 9.0), ("32768", 9.5), ("32768", 9.1)]
    calls[7] = ("70", 6.0)
    found = figures.latencies(calls)
    assert found["ms"]["calls"] == 23
    assert found["ms"]["max"] == 9.5
    assert [one["ms"] for one in found["longest"][:3]] == [9.5, 9.1, 9.0]
    slow = found["longest"][3]
    assert (slow["call"], slow["size"], slow["ms"]) == (7, "70", 6.0)
    # Of the ten nearest calls of its bucket, which it is not one of: 2 to 6, 8 to 12.
    assert slow["neighbours_ms"] == pytest.approx(1.07, abs=0.011)
    assert [(one["least"], one["most"], one["calls"]) for one in found["buckets"]] == [
        (64, 70, 20),
        (32768, 32768, 3),
    ]


def test_halves_of_a_stream_are_told_apart(figures: Any) -> None:
    calls = [("64", 2.0)] * 4 + [("64", 1.0)] * 6
    halves = figures.latencies(calls)["over_median"]
    assert halves["first half"]["max"] == 2.0
    assert halves["second half"]["max"] == 1.0
    assert halves["first half"]["calls"] == halves["second half"]["calls"] == 5


def test_a_call_that_has_no_like_and_a_stream_of_none(figures: Any) -> None:
    (only,) = figures.latencies([("64", 1.0)])["longest"]
    assert only["neighbours_ms"] is None
    assert figures.latencies([])["longest"] == []


# -- losses ----------------------------------------------------------------------------------------


def arm(how: str = "graph", **ms: float) -> dict[str, Any]:
    found = {"how": how}
    return {"sizes": {name.removeprefix("at"): found | {"ms": value} for name, value in ms.items()}}


def test_a_loss_is_against_the_oracle(figures: Any) -> None:
    arms = {"oracle": arm(at64=1.0, at128=2.0), "stock": arm(at64=1.0, at128=3.0, at256=9.0)}
    arms["second"] = arm(at64=0.9)
    rows = figures.table(arms, ["64", "128", "256", "512"])
    assert rows["64"] == {
        "ms": {"second": 0.9, "stock": 1.0, "oracle": 1.0},
        "loss": {"second": -0.1, "stock": 0.0},
    }
    assert rows["128"]["loss"] == {"stock": 0.5}
    assert rows["256"]["loss"] == {}
    assert "512" not in rows

    found = figures.losses(rows, ["64", "128", "256", "512"])
    assert found["stock"] == {"sizes": 2, "mean": 0.25, "most": 0.5, "at": "128"}
    assert found["second"] == {"sizes": 1, "mean": -0.1, "most": -0.1, "at": "64"}
    assert found.keys() == {"second", "stock"}
    assert figures.losses(rows, []) == {}


def test_what_was_measured_in_another_way_is_not_compared(figures: Any) -> None:
    arms = {"oracle": arm(at64=1.0), "stock": arm("do_bench", at64=5.0), "second": arm(at64=1.5)}
    rows = figures.table(arms, ["64"])
    assert rows["64"]["ms"] == {"second": 1.5, "stock": 5.0, "oracle": 1.0}
    assert rows["64"]["loss"] == {"second": 0.5}


# -- processes -------------------------------------------------------------------------------------


def test_a_second_start_needs_a_first(part: Callable[[str], Any], tmp_path: Path) -> None:
    starts = part("classes.starts").Starts("gla", tmp_path, {})
    assert starts.can("learning")
    assert starts.can("stock")
    assert not starts.can("second")
    (tmp_path / "learning/store").mkdir(parents=True)
    assert starts.can("second")


def test_a_process_is_ended_in_time(part: Callable[[str], Any]) -> None:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    assert part("classes.starts")._wait(process, time.monotonic() - 1) is None
    assert process.returncode == -9


def test_a_launch_tells_its_work_under_the_first_candidate(part: Callable[[str], Any]) -> None:
    tensor = SimpleNamespace(numel=lambda: 4096)
    small = SimpleNamespace(numel=lambda: 3)
    tuner = SimpleNamespace(
        arg_names=["x", "y", "T", "flag", "BT"], nargs={"x": tensor, "y": small, "T": 100}
    )
    first = SimpleNamespace(all_kwargs=lambda: {"BT": 32})
    meta = {"flag": True, "grid": lambda given: (-(-given["T"] // given["BT"]), 2), "warmup": False}
    found = part("classes.times").launch(tuner, first, meta)
    assert found["programs"] == 8
    assert found["ints"] == {"T": 100}
    assert found["largest_numel"] == 4096


def test_the_script_takes_every_operator_that_is_there(part: Callable[[str], Any]) -> None:
    operators = part("classes.operators")
    assert set(operators.OPERATORS) == {
        "kda",
        "simple_gla",
        "gated_delta_rule",
        "delta_rule",
        "gla",
        "rwkv7",
        "mamba2",
    }
    assert all(operator.about for operator in operators.OPERATORS.values())
