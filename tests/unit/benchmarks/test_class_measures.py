"""What the benchmark makes of times, by made-up ones whose answers are known."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT, run_python
from tuneonce.model.key import Work, coordinates, work_class

SCRIPT = ROOT / "benchmarks" / "class_measures.py"
Times = Mapping[str, float | None]
Sizes = Mapping[str, tuple[int, int, Times]]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a part of the benchmark as the script does."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return lambda name: importlib.import_module(f"classes.{name}")


def document(operators: Mapping[str, Mapping[str, Sizes]]) -> dict[str, Any]:
    """By operator and kernel, of each size: programs, elements, and milliseconds by candidate."""
    return {
        "schema": "tuneonce.work-class-times/1",
        "commit": "made up",
        "operators": {
            operator: {"arms": {"times": {"kernels": {n: {"()": key(of)} for n, of in of.items()}}}}
            for operator, of in operators.items()
        },
    }


def key(sizes: Sizes) -> dict[str, Any]:
    candidates: dict[str, dict[str, float | None]] = {}
    for size, (_, _, times) in sizes.items():
        for name, ms in times.items():
            candidates.setdefault(name, {})[size] = ms
    launches = {
        size: {"programs": programs, "largest_numel": elements}
        for size, (programs, elements, _) in sizes.items()
    }
    return {"launches": launches, "candidates": candidates}


def by_size(*, programs: int | None = None, **of: list[float]) -> Sizes:
    """Sizes of 64, 256, 1,024 ... tokens, of a class each, and the times of each candidate; with
    one program a token, or always the same number."""
    tokens = [64 * 4**i for i in range(len(next(iter(of.values()))))]
    return {
        str(n): (programs or n, 16 * n, {name: times[i] for name, times in of.items()})
        for i, n in enumerate(tokens)
    }


# -- reading -------------------------------------------------------------------------------------


def test_what_was_not_measured_or_has_failed_is_left_out_and_counted(
    part: Callable[[str], Any],
) -> None:
    sizes = {
        "64": (1, 1, {"a": 2.0, "b": 1.0, "c": None}),
        "128": (2, 2, {"a": 3.0, "b": 4.0, "c": 1.0}),
        "256": (4, 4, {"a": 1.0}),  # the time was up
    }
    given = document({"op": {"k": sizes}})
    given["operators"]["not begun"] = {"arms": {}}
    (found,), left = part("timed").read(given)
    assert left == (1, 1)
    assert found.ms == {"64": {"a": 2.0, "b": 1.0}, "128": {"a": 3.0, "b": 4.0}}
    assert found.best == {"64": "b", "128": "a"}
    assert found.slower("128", "b") == pytest.approx(1 / 3)


def test_of_candidates_that_are_equal_the_authors_first_has_won(part: Callable[[str], Any]) -> None:
    (found,), _ = part("timed").read(document({"op": {"k": by_size(a=[2.0], b=[1.0], c=[1.0])}}))
    assert found.best == {"64": "b"}


# -- measures ------------------------------------------------------------------------------------

WORKS = [
    Work(programs, elements)
    for programs in (1, 3, 4, 63, 64, 255, 256, 70_000)
    for elements in (1, 5, 2896 * 64, 2897 * 64, 1 << 20, 3_000_000_000)
]


@pytest.mark.parametrize("work", WORKS)
def test_the_share_of_each_program_is_that_of_the_packages_classes(
    part: Callable[[str], Any], work: Work
) -> None:
    measures = part("measures")
    expected = coordinates(work_class(*work))
    assert (measures.programs(work, 2), measures.share(work, 2)) == expected
    assert measures.as_keyed(work, 2) == work_class(*work)


@pytest.mark.parametrize("octaves", [1, 2, 4])
def test_a_class_is_as_wide_as_it_is_called(part: Callable[[str], Any], octaves: int) -> None:
    """Between the ends of a class of one number there are so many powers of two."""
    measures = part("measures")
    for measure in (
        lambda n: measures.programs(Work(n, 1), octaves),
        lambda n: measures.elements(Work(1, n), octaves),
        lambda n: measures.share(Work(1, n), octaves),
    ):
        classes = [measure(2**power) for power in range(4 * octaves)]
        assert sorted(classes) == classes
        assert [classes.count(number) for number in range(4)] == [octaves] * 4


def test_the_regret_of_a_call_is_that_of_all_its_kernels(part: Callable[[str], Any]) -> None:
    kernels = {
        "long": by_size(a=[8.0, 10.0], b=[10.0, 8.0]),
        "short": by_size(a=[2.0, 2.0], b=[3.0, 3.0]),
    }
    keys, _ = part("timed").read(document({"op": kernels}))
    found = part("measures").regret(keys, lambda work: None)
    assert (found["classes"], found["launches"]) == (2, 4)
    # At both sizes 2 ms of 10 are lost by the winner of the other one, and none by their own.
    assert found["worst"] == found["worst_call"] == pytest.approx(0.2)
    assert found["mean"] == pytest.approx(0.1)
    assert found["worst_kernel"]["regret"] == pytest.approx(0.25)
    assert found["worst_kernel"]["kernel"] == "long"
    apart = part("measures").regret(keys, lambda work: work.programs)
    assert (apart["classes"], apart["worst"], apart["mean"]) == (4, 0, 0)


def test_a_grid_that_does_not_vary_has_one_class_by_programs_and_more_by_elements(
    part: Callable[[str], Any],
) -> None:
    measures = part("measures")
    sizes = by_size(programs=32, a=[1.0, 2.0, 9.0], b=[2.0, 2.5, 3.0])
    keys, _ = part("timed").read(document({"op": {"k": sizes}}))
    found = {
        name: measures.regret(keys, lambda work, of=of: of(work, 2))
        for name, of in measures.MEASURES.items()
    }
    assert {name: one["classes"] for name, one in found.items()} == {
        "programs": 1,
        "elements": 3,
        "programs and elements": 3,
        "programs and elements of each": 3,
    }
    assert found["programs"]["worst_call"] == pytest.approx(2.0)


def test_winners_of_short_launches_are_used_and_not_judged_or_not_known_at_all(
    part: Callable[[str], Any],
) -> None:
    timed, measures = part("timed"), part("measures")
    keys, _ = timed.read(document({"op": {"k": by_size(a=[0.01, 3.0], b=[0.02, 2.0])}}))
    judged = measures.regret(timed.judged_from(keys, 0.5), lambda work: None)
    assert (judged["launches"], judged["worst"]) == (1, pytest.approx(0.5))
    known = measures.regret(timed.known_from(keys, 0.5), lambda work: None)
    assert (known["launches"], known["worst"]) == (1, 0)
    nothing = measures.regret(timed.judged_from(keys, 5.0), lambda work: None)
    assert nothing == {"classes": 1, "launches": 0}


# -- neighbours ----------------------------------------------------------------------------------


def test_neighbours_rule_out_what_is_slow_at_all_of_them(part: Callable[[str], Any]) -> None:
    """In the middle b wins, which is slow at the smaller size only."""
    neighbours = part("neighbours")
    sizes = by_size(a=[1.0, 2.0, 4.0], b=[1.4, 1.0, 4.8], c=[9.0, 9.0, 9.0])
    keys, _ = part("timed").read(document({"op": {"k": sizes}}))
    both = neighbours.ruled_out(keys, 1.3, neighbours.nearest_two)
    assert both == {"kept": pytest.approx(2 / 3), "launches": 1, "mean": 0, "p95": 0, "max": 0}
    one = neighbours.ruled_out(keys, 1.3, neighbours.nearest_one)
    # At the first and the last size only b is left, by the middle one; there only a, by the first.
    assert one["launches"] == 3
    assert one["kept"] == pytest.approx(3 / 9)
    assert one["max"] == pytest.approx(1.0)
    assert one["mean"] == pytest.approx((0.4 + 1.0 + 0.2) / 3)
    assert neighbours.ruled_out(keys, 10, neighbours.nearest_one)["kept"] == 1


def test_a_size_of_the_same_class_or_far_away_is_no_neighbour(part: Callable[[str], Any]) -> None:
    neighbours = part("neighbours")
    sizes = {
        size: (programs, 16 * programs, {"a": 1.0, "b": 1.0})
        for size, programs in (("64", 64), ("128", 128), ("8192", 8192))
    }
    keys, _ = part("timed").read(document({"op": {"k": sizes}}))
    assert work_class(64, 1024) == work_class(128, 2048)
    assert neighbours.others(keys[0], "64") == ([], ["8192"])
    assert neighbours.ruled_out(keys, 1.5, neighbours.nearest_one) == {"kept": None, "launches": 0}


def test_rules_for_a_class_between_two(part: Callable[[str], Any]) -> None:
    """By the times of both ends, c is the fastest half-way, which has won at neither."""
    neighbours = part("neighbours")
    sizes = by_size(a=[1.0, 5.0, 16.0], b=[4.0, 5.0, 4.0], c=[1.5, 2.0, 5.0])
    keys, _ = part("timed").read(document({"op": {"k": sizes}}))
    ran = {name: rule(keys[0], "256", ("64", "1024")) for name, rule in neighbours.RULES.items()}
    assert ran == {
        "nearest": "b",
        "larger": "b",
        "interpolated": "c",
        "interpolated, of two winners": "a",
        "least lost": "c",
    }
    found = neighbours.between(keys, 64)
    assert found["nearest"]["all"] == found["nearest"]["differ"]
    assert found["nearest"]["all"]["max"] == pytest.approx(1.5)
    assert found["interpolated"]["all"]["max"] == 0
    # From 256 tokens on there is nothing below the middle one.
    assert neighbours.between(keys, 256)["nearest"]["all"] == {"launches": 0}


def test_classes_whose_neighbours_agree_are_counted_apart(part: Callable[[str], Any]) -> None:
    sizes = by_size(a=[1.0, 3.0, 4.0], b=[2.0, 2.0, 8.0])
    keys, _ = part("timed").read(document({"op": {"k": sizes}}))
    found = part("neighbours").between(keys, 64)["nearest"]
    assert found["all"]["mean"] == pytest.approx(0.5)
    assert found["differ"] == {"launches": 0}


def test_the_next_size_on_each_side_is_asked(part: Callable[[str], Any]) -> None:
    neighbours = part("neighbours")
    keys, _ = part("timed").read(document({"op": {"k": by_size(a=[1.0] * 5)}}))
    assert neighbours.others(keys[0], "1024") == (["256", "64"], ["4096", "16384"])
    assert neighbours.nearest_two(keys[0], "1024") == ["256", "4096"]


def test_what_is_not_judged_says_something_of_what_is(part: Callable[[str], Any]) -> None:
    timed, neighbours = part("timed"), part("neighbours")
    keys, _ = timed.read(document({"op": {"k": by_size(a=[0.1, 2.0, 4.0], b=[0.2, 1.0, 8.0])}}))
    judged = timed.judged_from(keys, 0.5)
    assert neighbours.ruled_out(judged, 1.3, neighbours.nearest_one)["launches"] == 2
    assert neighbours.between(judged, 64)["larger"]["all"]["max"] == pytest.approx(1.0)
    assert neighbours.between(timed.judged_from(keys, 3), 64)["larger"]["all"] == {"launches": 0}


# -- noise ---------------------------------------------------------------------------------------


def test_a_small_launch_that_takes_longer_than_a_larger_one_is_disturbed(
    part: Callable[[str], Any],
) -> None:
    sizes = by_size(a=[0.001, 0.002, 0.1], b=[0.9, 0.002, 0.1])
    keys, _ = part("timed").read(document({"op": {"k": sizes}}))
    short, middle, long = part("noise").bands(keys)
    assert [band["launches"] for band in (short, middle, long)] == [2, 0, 1]
    assert short["disturbed"] == {"times": 4, "disturbed": 1}
    # The largest has nothing to be compared with.
    assert long["disturbed"] == {"times": 0, "disturbed": 0}
    assert short["repeated"] is None


def test_a_launch_that_two_operators_make_says_what_is_noise(part: Callable[[str], Any]) -> None:
    noise = part("noise")
    (ambiguous, *_) = noise.AMBIGUOUS
    first = {"64": (8, 64, {"a": 1.0, "b": 1.1})}
    again = {"64": (8, 64, {"a": 1.2, "b": 1.0})}
    other = {"64": (9, 64, {"a": 5.0, "b": 1.0})}
    given = document(
        {
            "one": {"k": first, "other grid": first, ambiguous: first},
            "two": {"k": again, "other grid": other, ambiguous: again},
        }
    )
    keys, _ = part("timed").read(given)
    found = noise.bands(keys)[-1]["repeated"]
    assert found["pairs"] == 1
    assert found["times_apart"]["p95"] == pytest.approx(0.2)
    assert found["times_apart"]["p50"] == pytest.approx(0.15)
    assert found["winner_lost"]["max"] == pytest.approx(0.2)
    assert found["winner_lost"]["mean"] == pytest.approx(0.15)


# -- the script ----------------------------------------------------------------------------------


def test_the_script_gives_a_document_and_tables_and_loads_no_torch(tmp_path: Path) -> None:
    times, out = tmp_path / "times.json", tmp_path / "out.json"
    sizes = by_size(a=[0.001, 2.0, 3.0], b=[0.002, 1.0, 5.0])
    times.write_text(json.dumps(document({"op": {"k": sizes}, "again": {"k": sizes}})))
    printed = json.loads(run_python(SCRIPT, str(times)))
    assert printed["schema"] == "tuneonce.class-measures/1"
    assert printed["times"]["commit"] == "made up"
    assert "commit" in printed

    code = (
        "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "assert not {'torch', 'triton'} & sys.modules.keys()"
    )
    text = run_python("-c", code, str(SCRIPT), str(times), "--table", "--out", str(out))
    assert json.loads(out.read_text())["launches"] == printed["launches"]
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 1 + 3 * 3
    for rows in tables:
        assert len({row.count("|") for row in rows}) == 1, rows
