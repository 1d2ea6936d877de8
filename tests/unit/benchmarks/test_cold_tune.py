"""The parts of benchmarks/cold_tune.py and benchmarks/tune_quality.py that compile nothing."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.factories import H200, make_key, process, put_loose, put_verdict, write_events
from tests.fakes import ROOT, RememberedEvents, candidate
from tuneonce.model.key import Key
from tuneonce.model.record_names import place
from tuneonce.model.records import Measurement, Verdict, unpack
from tuneonce.resolution.resolver import Outcome, Question, Resolver
from tuneonce.store import open_store

CHANGED: dict[str, dict[str, Any]] = {
    "product": {"product": f"{H200} (aged)"},
    "compiler": {"compiler": "triton-3.6.0-0123456789ab (aged)"},
}


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the benchmarks as the scripts do."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def ask(store: Path, key: Key) -> Outcome:
    question = Question(key, "c02", 20, [candidate(64), candidate(128)])
    return Resolver(open_store(store), RememberedEvents()).resolve(question).outcome


# -- a store of another world ----------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGED)
def test_an_aged_store_answers_in_another_world_only(
    part: Any, tmp_path: Path, change: str
) -> None:
    key, other = make_key(), make_key(**CHANGED[change])
    put_verdict(open_store(tmp_path / "store"), key, {64: (1.0, 0.9, 1.1), 128: (2.0, 1.9, 2.1)})

    assert part("cold.aging").age_store(tmp_path / "store", tmp_path / "aged", change=change) == 1

    assert ask(tmp_path / "store", key) is Outcome.HIT
    assert ask(tmp_path / "aged", key) is Outcome.MISS
    assert ask(tmp_path / "aged", other) is Outcome.HIT


def test_another_source_is_another_kernel(part: Any, tmp_path: Path) -> None:
    key = make_key(callee_helper="1" * 16)
    store = open_store(tmp_path / "store")
    name = put_verdict(store, key, {64: (1.0,), 128: (2.0,)})

    part("cold.aging").age_store(tmp_path / "store", tmp_path / "aged", change="source")

    (moved,) = open_store(tmp_path / "aged").list("")
    data = open_store(tmp_path / "aged").get(moved)
    assert data is not None
    verdict = unpack(data, Verdict)
    source = dict(verdict.key)["kernel.source"]
    assert source != "0" * 16
    again = make_key(source=source, callee_helper="1" * 16)
    assert moved == again.verdict_name("c02", verdict.candidates)
    assert moved.split("/")[1] != name.split("/")[1]  # the kernel's directory
    assert moved.split("/")[2] == name.split("/")[2]  # the world's


def test_measurements_and_unknown_records_travel_with_their_key(part: Any, tmp_path: Path) -> None:
    key, other = make_key(), make_key(**CHANGED["product"])
    store = open_store(tmp_path / "store")
    put_verdict(store, key, {64: (1.0,), 128: (2.0,)})
    put_loose(store, key, 256, 0.1 + 0.2, 1 / 3, 1e-7)
    body = json.dumps({"key": key.digest, "programs": [1, 2.5]}).encode() + b"\n"
    header = {"schema": "tuneonce.new/7", "sha256": hashlib.sha256(body).hexdigest()}
    store.put(f"{key.directory}/c02.new.json", json.dumps(header).encode() + b"\n" + body)

    assert part("cold.aging").age_store(tmp_path / "store", tmp_path / "aged") == 3

    aged = open_store(tmp_path / "aged")
    names = sorted(aged.list(""))
    assert {name.rpartition("/")[0] for name in names} == {other.directory}
    loose = next(name for name in names if name.endswith(".measured.json"))
    data = aged.get(loose)
    assert data is not None
    measurement = unpack(data, Measurement)
    assert loose.endswith(place(measurement))
    assert measurement.times == (0.1 + 0.2, 1 / 3, 1e-7)
    unknown = aged.get(f"{other.directory}/c02.new.json")
    assert unknown is not None
    head, new_body = unknown.splitlines(keepends=True)
    assert json.loads(new_body) == {"key": other.digest, "programs": [1, 2.5]}
    assert json.loads(head) == {
        "schema": "tuneonce.new/7",
        "sha256": hashlib.sha256(new_body).hexdigest(),
    }


def test_a_key_that_nothing_tells_is_left_out(part: Any, tmp_path: Path) -> None:
    put_loose(open_store(tmp_path / "store"), make_key(), 64, 1.0)
    assert part("cold.aging").age_store(tmp_path / "store", tmp_path / "aged") == 0
    assert list(open_store(tmp_path / "aged").list("")) == []


# -- what runs when --------------------------------------------------------------------------


def test_arms_take_turns_and_a_warm_start_follows_its_cold_one(part: Any) -> None:
    order = part("cold_tune").order
    chosen = ["tuneonce-warm", "stock", "tuneonce", "tuneonce-known"]
    assert order(chosen, 1) == ["stock", "tuneonce", "tuneonce-warm", "tuneonce-known"]
    assert order(chosen, 2) == ["tuneonce-known", "tuneonce", "tuneonce-warm", "stock"]


def test_every_workload_runs_once_before_any_runs_twice(part: Any) -> None:
    runs = list(part("cold_tune").plan(["fla", "mamba"], ["stock", "tuneonce"], range(3, 5)))
    assert runs == [
        ("fla", "stock", 3),
        ("fla", "tuneonce", 3),
        ("mamba", "stock", 3),
        ("mamba", "tuneonce", 3),
        ("fla", "tuneonce", 4),
        ("fla", "stock", 4),
        ("mamba", "tuneonce", 4),
        ("mamba", "stock", 4),
    ]


def test_an_arm_starts_in_its_own_directories(
    part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TUNEONCE_RAISE", "TRITON_CACHE_MANAGER", "FLA_CACHE_MODE"):
        monkeypatch.setenv(name, "1")
    arms = part("cold.arms")
    made = arms.environment("stock", tmp_path, tmp_path / "events", ("FLA_",))
    assert not {"TUNEONCE_RAISE", "TRITON_CACHE_MANAGER", "FLA_CACHE_MODE"} & made.keys()
    assert made["TUNEONCE"] == "observe"
    assert made["TRITON_CACHE_AUTOTUNING"] == made["FLA_CACHE_RESULTS"] == "0"
    own = ("HOME", "XDG_CACHE_HOME", "TRITON_CACHE_DIR", "TUNEONCE_STORE", "TUNEONCE_EVENTS")
    assert all(Path(made[name]).is_relative_to(tmp_path) for name in own)


def test_a_workload_says_what_it_is(part: Any) -> None:
    for name, workload in part("cold.workloads").WORKLOADS.items():
        assert name.isidentifier()
        assert workload.module.isidentifier()
        assert workload.packages
        assert workload.about
        assert all(prefix.isupper() for prefix in workload.steering)


def test_a_comparison_survives_a_run_that_fails(
    part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold_tune, arms = part("cold_tune"), part("cold.arms")

    def start(name: str, arm: str, home: Path, *rest: Any, **more: Any) -> dict[str, Any]:
        if arm == "stock":
            raise arms.Failed("exit 1")
        if arm == "tuneonce":
            put_verdict(open_store(home / "store"), make_key(), {64: (1.0,), 128: (2.0,)})
        return run_of("fla", arm, calls_s=2.0)

    monkeypatch.setattr(arms, "start", start)
    monkeypatch.setattr("sys.argv", ["cold_tune.py", str(tmp_path / "out.json"), "--simulated"])
    args = cold_tune.arguments()
    document = {"runs": [], "versions": {}}
    comparison = cold_tune.Comparison(args.out, document, tmp_path, args)
    for arm in ("stock", "tuneonce", "tuneonce-known"):
        comparison.run("fla", arm, 1)

    saved = json.loads(args.out.read_text())
    assert [run.get("failed") for run in saved["runs"]] == ["exit 1", None, None]
    assert saved["summary"]["fla"]["stock"] == {"runs": 0, "failed": 1}
    assert saved["gpu"] == "a GPU"
    # The store of the first tuneonce run, as another GPU would have left it.
    (aged,) = tmp_path.glob("fla-1-tuneonce-known/store")
    assert ask(aged, make_key()) is Outcome.MISS
    assert ask(aged, make_key(product=f"{H200} (aged)")) is Outcome.HIT


# -- what it comes to ------------------------------------------------------------------------


def run_of(
    workload: str,
    arm: str,
    *,
    calls_s: float,
    tunes: list[dict[str, Any]] | None = None,
    winners: Mapping[str, Mapping[str, str]] | None = None,
    **totals: float,
) -> dict[str, Any]:
    names = ("tunes", "candidates_measured", "compiles", "disk_loads", "hits", "provisional")
    return {
        "workload": workload,
        "arm": arm,
        "repeat": 1,
        "calls_s": calls_s,
        "process_s": calls_s + 10,
        "import_s": 5.0,
        "outputs_ok": None,
        "gpu": "a GPU",
        "versions": {"triton": "3.6.0"},
        "winners": winners or {},
        "tunes": tunes or [],
        "totals": {
            **dict.fromkeys(names, 1),
            "tune_s": 0.0,
            "compile_s": 0.0,
            "problems": {},
            **totals,
        },
    }


def test_the_ratio_is_of_medians(part: Any) -> None:
    runs = [run_of("fla", "stock", calls_s=seconds) for seconds in (80.0, 100.0, 400.0)]
    runs += [run_of("fla", "tuneonce", calls_s=seconds) for seconds in (10.0, 20.0, 30.0)]
    found = part("cold.summary").summarise(runs)["fla"]["tuneonce"]
    assert found["calls_s"] == {"median": 20.0, "least": 10.0, "most": 30.0}
    assert found["stock_over_this"] == {"calls_s": 5.0, "process_s": round(110 / 30, 2)}


def test_winners_are_compared_key_by_key(part: Any) -> None:
    one = run_of("fla", "stock", calls_s=1.0, winners={"k": {"a": "64", "b": "64", "c": "64"}})
    two = run_of("fla", "tuneonce", calls_s=1.0, winners={"k": {"a": "64", "b": "128"}, "l": {}})
    assert part("cold.summary").agreement(one, two) == {"same": 1, "of": 2}


def test_where_the_time_goes_without_a_tuners_own_account(part: Any) -> None:
    run = run_of("fla", "stock", calls_s=100.0, tune_s=90.0, compile_s=75.0)
    where = part("cold.summary").where([run])
    assert where == {"compiling": 75.0, "measuring": 15.0, "other": 10.0}


def test_where_the_time_goes_by_a_tuners_own_account(part: Any) -> None:
    tunes = [
        {"e": "tune", "t": 1.0, "seconds": 5.0, "compile_s": 30.0, "where": {"waiting_s": 3.0}},
        {"e": "tune", "t": 9.0, "seconds": 5.0, "waiting_s": 1.0, "measuring_s": 2.0},
    ]
    run = run_of("fla", "tuneonce", calls_s=11.0, tunes=tunes, tune_s=10.0, compile_s=60.0)
    where = part("cold.summary").where([run])
    assert where == {"waiting": 4.0, "measuring": 2.0, "rest of tuning": 4.0, "other": 1.0}


def test_the_table_has_a_line_for_each_arm(part: Any) -> None:
    summary = part("cold.summary")
    runs = [run_of("fla", "stock", calls_s=80.0), run_of("fla", "tuneonce", calls_s=16.0)]
    runs.append({"workload": "fla", "arm": "tuneonce-known", "repeat": 1, "failed": "exit 1"})
    text = summary.table(summary.summarise(runs))
    assert "| fla | stock | 1 | 80.00 | – | 90.0 |" in text
    assert "| fla | tuneonce | 1 | 16.00 | 5.0 | 26.0 |" in text
    assert "| fla | tuneonce-known | 0, 1 failed | – |" in text


def test_tune_events_are_passed_on_whole(part: Any, tmp_path: Path) -> None:
    tune = {"t": 1.0, "e": "tune", "kernel": "k", "seconds": 2.0, "where": {"waiting_s": 1.5}}
    empty = {"t": 0.5, "e": "tune", "kernel": "k", "seconds": 0.0, "compile_s": 0.0}
    measure = {"t": 0.6, "e": "measure", "kernel": "k", "tune_s": 4.0}
    write_events(tmp_path, process(tune), process(empty, measure, mode="observe"))
    found = part("cold.arms").read_events(tmp_path)
    assert found["tunes"] == [tune]
    assert found["totals"]["tunes"] == 2
    assert found["totals"]["tune_s"] == 6.0


# -- how good winners are --------------------------------------------------------------------

ORACLE = [
    {"kernel": "k", "key": "a", "candidates": {"64": [1.1, 1.1], "128": [1.0, 1.0], "256": []}},
    {"kernel": "k", "key": "b", "candidates": {"64": [2.0], "128": [3.0]}},
    {"kernel": "k", "key": "never met", "candidates": {"64": [2.0], "128": [3.0]}},
]


def test_regret_is_against_the_best_candidate(part: Any) -> None:
    tunes = [{"k": {"a": "128", "b": "64"}}, {"k": {"a": "64", "b": "128"}}]
    judged = part("cold.regret").judge(ORACLE, tunes)
    assert judged["keys"] == 2
    assert [key["regrets"] for key in judged["by_key"]] == [
        [0.0, pytest.approx(0.1)],
        [0.0, pytest.approx(0.5)],
    ]
    assert judged["regret"]["max"] == pytest.approx(0.5)
    assert judged["worse_than_first"] == pytest.approx(0.5)
    assert judged["agree"] == 0.0


def test_keys_with_one_winner_are_counted(part: Any) -> None:
    tunes = [{"k": {"a": "128", "b": "64"}}, {"k": {"a": "64", "b": "64"}}]
    judged = part("cold.regret").judge(ORACLE, tunes)
    assert judged["agree"] == 0.5
    assert judged["by_key"][0]["winners"] == {"128": 1, "64": 1}


def test_a_winner_that_the_oracle_does_not_know_is_counted(part: Any) -> None:
    judged = part("cold.regret").judge(ORACLE, [{"k": {"a": "512"}}, {"k": {"a": "128"}}])
    assert judged["winners_unknown_to_oracle"] == 1
    assert judged["by_key"][0]["regrets"] == [0.0]


@pytest.mark.parametrize(("q", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantiles_are_values_that_were_there(part: Any, q: float, value: int) -> None:
    assert part("cold.regret").quantile(list(range(1, 101)), q) == value


def test_tunes_that_are_missing_take_turns(part: Any) -> None:
    document = {"runs": [{"number": 1, "arm": "stock"}]}
    assert part("tune_quality").missing(document, 2) == [
        (1, "tuneonce"),
        (2, "stock"),
        (2, "tuneonce"),
    ]


# -- an oracle -------------------------------------------------------------------------------


def test_an_oracle_measures_again_who_could_be_the_best(
    part: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/kernels/third_party"))
    oracle = part("cold.oracle").Oracle(rep_ms=100, rounds=3)
    asked: list[str] = []
    ms = {"far": 1.6, "best": 1.0, "near": 1.4, "fails": float("inf")}

    def one(config: str) -> float:
        asked.append(config)
        return ms[config]

    times = oracle._measure(list(ms), one)
    assert asked == [*ms, "near", "best", "best", "near"]
    assert times == {"far": [1.6], "best": [1.0] * 3, "near": [1.4] * 3, "fails": [ms["fails"]]}


def test_an_oracle_of_candidates_that_all_fail(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/kernels/third_party"))
    oracle = part("cold.oracle").Oracle(rep_ms=100, rounds=2)
    found = oracle._measure(["a", "b"], lambda config: float("inf"))
    assert set(found) == {"a", "b"}


def test_an_oracle_keeps_the_device_busy_while_it_measures(
    part: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/kernels/third_party"))
    oracle = part("cold.oracle")
    flushed: list[str] = []
    driver = SimpleNamespace(clear_cache=flushed.append)
    with oracle.busy(driver):
        driver.clear_cache("cache")
    assert flushed == ["cache"] * oracle.FLUSHES
    driver.clear_cache("once")
    assert flushed.count("once") == 1


# -- compilations that were made before ------------------------------------------------------


def job(name: str) -> dict[str, Any]:
    return {
        "hash": name,
        "source_hash": name,
        "backend_hash": "b",
        "target": ("cuda", 90, 32),
        "options": {"num_warps": 4},
    }


@pytest.fixture
def compiles(part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compiles into directories of the run of the moment (`run`); what it was asked is `asked`."""
    helper = part("cold.replaying_helper")
    state = SimpleNamespace(run="then", asked=[])

    def directory(job: dict[str, Any]) -> str:
        folder = tmp_path / state.run / job["hash"]
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def compile_job(job: dict[str, Any]) -> dict[str, Any]:
        state.asked.append(job["hash"])
        if job["hash"] == "wrong":
            raise ValueError("no")
        folder = Path(directory(job))
        (folder / "k.cubin").write_bytes(b"binary")
        (folder / "__grp__k.json").write_text(json.dumps({"k.cubin": str(folder / "k.cubin")}))
        return {"seconds": 0.0}

    monkeypatch.setattr(helper, "cache_directory", directory)
    kept = tmp_path / "kept"
    kept.mkdir()
    state.record = helper.record(kept, compile_job)
    state.replay = helper.replay(kept, compile_job)
    return state


def test_a_compilation_is_made_once_and_its_files_are_put_where_they_belong(
    compiles: Any, tmp_path: Path
) -> None:
    compiles.record(job("right"))
    compiles.run = "now"
    assert compiles.replay(job("right")) == {"seconds": 0.0}
    assert compiles.asked == ["right"]
    folder = tmp_path / "now" / "right"
    assert (folder / "k.cubin").read_bytes() == b"binary"
    group = json.loads((folder / "__grp__k.json").read_text())
    assert group == {"k.cubin": str(folder / "k.cubin")}


def test_what_failed_to_compile_fails_again(compiles: Any) -> None:
    with pytest.raises(ValueError, match="no"):
        compiles.record(job("wrong"))
    with pytest.raises(Exception, match="no") as caught:
        compiles.replay(job("wrong"))
    assert type(caught.value).__name__ == "ValueError"
    assert compiles.asked == ["wrong"]


def test_what_was_not_recorded_is_compiled_and_then_it_is(compiles: Any) -> None:
    for _ in range(2):
        compiles.replay(job("right"))
    assert compiles.asked == ["right"]
