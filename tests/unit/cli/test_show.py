"""`tuneonce show`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.factories import leave_in_journal, make_key, make_verdict, put_loose, put_verdict
from tests.fakes import candidate
from tuneonce.model.records import Sighting, pack
from tuneonce.settings import read
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2, 0.19, 0.21), 128: (0.1, 0.09, 0.11), 256: ()}


def test_show_in_an_empty_store(tell: Tell, store: FileStore) -> None:
    Path(store.describe().location).mkdir()
    said = tell("show", "add")
    assert said.code == 2
    assert said.err.rstrip().endswith("it is empty")


@pytest.mark.parametrize("far", [False, True])
def test_what_a_killed_tuning_has_measured_is_shown_and_removed(
    tell: Tell, store: FileStore, far: bool
) -> None:
    put_verdict(store, make_key(), TIMES)
    location = store.describe().location
    folder = Path(location, ".journal")
    if far:
        near = read({**os.environ, "TUNEONCE_STORE": location}).journals
        assert near is not None
        folder = near
    for block in (64, 128):
        leave_in_journal(folder, make_key("mul"), block, 0.2)
    entries = tell("ls", "--json").json["entries"]
    assert [(e["kernel"], e["origin"], e["measured"]) for e in entries] == [
        ("kernels:add", "measured", 3),
        ("mul", None, 2),
    ]
    assert "unfinished: 2 measured" in tell("show", "mul").out
    assert tell("verify", "--json").json["measurements"] == 2
    said = tell("rm", "mul", "--yes", "--json").json
    assert (len(said["records"]), said["removed"]) == (2, 2)
    assert list(folder.iterdir()) == []
    assert len(tell("ls", "--json").json["entries"]) == 1


def test_show_draws_each_measurement(tell: Tell, store: FileStore) -> None:
    key = make_key()
    put_verdict(store, key, TIMES)
    put_loose(store, key, 512, 0.4, work_class="c03")
    said = tell("show", "kernels:add")
    assert said.code == 0
    lines = said.out.splitlines()
    winner = next(line for line in lines if line.startswith("*"))
    slower = next(line for line in lines if "BLOCK=64" in line)
    assert "BLOCK=128" in winner
    assert "0.09–0.11" in winner
    assert "(first)" in slower
    assert slower.count("█") == 2 * winner.count("█") == 16
    assert "did not run" in next(line for line in lines if "BLOCK=256" in line)
    assert "unfinished: 1 measured" in said.out
    assert "2.00× over the first candidate" in said.words


def test_show_of_what_was_written_this_moment(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES, at=time.time() + 60)
    assert "measured just now, tuned in 7.9 s" in tell("show", "add").words


def test_show_json(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    document = tell("show", "add", "--json").json
    assert document["schema"] == "tuneonce.show/1"
    (entry,) = document["entries"]
    assert [m["median_ms"] for m in entry["measurements"]] == [0.1, 0.2, None]
    assert [m["winner"] for m in entry["measurements"]] == [True, False, False]


def test_show_says_what_was_seen_of_outputs(tell: Tell, store: FileStore) -> None:
    key, times = make_key(), {64: (0.2,), 128: (0.1,), 256: (), 512: (0.3,), 32: (0.4,)}
    first, fastest, wrong, unsteady, _ = (candidate(block).digest for block in times)
    seen = Sighting(
        programs=20,
        at=1.0,
        size=4096,
        classes={first: 0, fastest: 1, wrong: 2, unsteady: -1},
        distances={fastest: 0.00012, wrong: None, unsteady: 0.5},
        wrong=[wrong],
        disagrees=False,
    )
    verdict = msgspec.structs.replace(make_verdict(key, times), sightings=[seen])
    store.put(key.verdict_name("c02", verdict.candidates), pack(verdict))
    out = tell("show", "add").out.splitlines()
    lines = {line.split("BLOCK=")[1].split()[0]: line for line in out if "BLOCK=" in line}
    assert "the first one's bits cost 100.0%" in " ".join(" ".join(out).split())
    assert lines["64"].rstrip().endswith(" 0")
    assert lines["128"].rstrip().endswith("1, 0.00012 apart")
    assert lines["256"].rstrip().endswith("wrong, no number")
    assert lines["512"].rstrip().endswith("unsteady, 0.5 apart")
    assert lines["32"].rstrip().endswith("0.4")
    (entry,) = tell("show", "add", "--json").json["entries"]
    told = {m["config"].split()[0]: m for m in entry["measurements"]}
    assert (told["BLOCK=128"]["bits"], told["BLOCK=128"]["distance"]) == ("1", 0.00012)
    assert "bits" not in told["BLOCK=32"]
    assert entry["outputs"] == {
        "looked_at": 4,
        "classes": 3,
        "unsteady": 1,
        "disagrees": False,
        "constant": first,
        "constant_ms": 0.2,
        "fastest": fastest,
        "fastest_ms": 0.1,
        "cost": 1.0,
    }


def test_show_says_where_candidates_disagree_or_none_is_steady(
    tell: Tell, store: FileStore
) -> None:
    key = make_key()
    verdict = make_verdict(key, {64: (0.2,), 128: (0.1,)})
    classes = dict.fromkeys(verdict.candidates, -1)
    seen = Sighting(20, 1.0, 4096, classes, {verdict.winner: 0.5}, [], disagrees=True)
    verdict = msgspec.structs.replace(verdict, sightings=[seen])
    store.put(key.verdict_name("c02", verdict.candidates), pack(verdict))
    words = tell("show", "add").words
    assert "; candidates disagree; no candidate equals itself" in words
    assert "cost" not in words


def test_show_compares_the_classes_of_a_key(tell: Tell, store: FileStore) -> None:
    key = make_key()
    put_verdict(store, key, TIMES, work_class="c00", winner=64)
    put_verdict(store, key, {**TIMES, 256: (0.08,)}, work_class="c05", origin="explored")
    said = tell("show", "add")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    start = lines.index("kernels:add n=64 x=bf16 over its work classes")
    assert lines[start + 1 :] == [
        "NVIDIA H200 · cuda:90 · triton-3.6.0",
        "class sizes winner ms measured origin",
        "c00 1–3 programs BLOCK=64 num_warps=4 0.2 2 of 3 measured",
        "c05 1,024–4,095 programs BLOCK=256 num_warps=4 0.08 3 of 3 explored",
        "one verdict for all, the best: BLOCK=128 num_warps=4 loses c00 -50.0%, c05 25.0%",
        "one verdict for all, the winner of c00: BLOCK=64 num_warps=4 loses c00 0.0%, c05 150.0%",
        "",
    ]


def test_show_says_where_one_verdict_for_all_was_not_measured(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), {64: (0.1,), 256: ()}, work_class="c00")
    put_verdict(store, make_key(), {64: (), 128: (0.1,)}, work_class="c01")
    put_verdict(store, make_key(), {128: (0.1,), 256: (0.2,)}, work_class="c02")
    words = tell("show", "add").words
    assert "the best: no candidate was measured at every size" in words
    assert "BLOCK=64 num_warps=4 loses c00 0.0%, c01 failed, c02 not measured" in words


def test_show_json_has_the_classes(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES, work_class="c00")
    assert tell("show", "add", "--json").json["over_classes"] == []
    put_verdict(store, make_key(), TIMES, work_class="c01")
    (key,) = tell("show", "add", "--json").json["over_classes"]
    assert [one["work_class"] for one in key["classes"]] == ["c00", "c01"]
    assert key["best"]["worst"] == key["of_smallest"]["worst"] == 0.0
    assert "over_classes" not in tell("ls", "--json").json
