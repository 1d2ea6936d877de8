"""Ranks that start together: one measures a key, one compiles a binary, and all use one winner."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.contract.servers import moto_server, redis_server, s3_environment
from tests.fakes import ROOT
from tuneonce.events.log import read_processes

CANDIDATES = 8
KEYS = [3, 5]


class Ranks:
    """Starts ranks, again and again, below one directory; by the command `within`, if any."""

    def __init__(self, home: Path, within: Sequence[str] = ()) -> None:
        self._home, self._number = home, 0
        self._errors = (home / "errors").open("w+")
        self._program = subprocess.Popen(
            [*within, sys.executable, str(ROOT / "tests/processes/rank_program.py")],
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
                "TUNEONCE_WORKERS": "2",
                "TRITON_DEFAULT_FP_FUSION": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def start(self, ranks: int, **job: Any) -> tuple[list[dict[str, str] | None], Counter[str]]:
        """Each rank's winners, and how often what was told."""
        self.begin(ranks, **job)
        return self.end()

    def begin(self, ranks: int, **job: Any) -> None:
        self._number += 1
        self._now = home = self._home / str(self._number)
        home.mkdir()
        assert self._program.stdin is not None
        job = {"home": str(home), "ranks": ranks, "machines": 1, "keys": KEYS} | job
        print(json.dumps(job), file=self._program.stdin, flush=True)

    def end(self) -> tuple[list[dict[str, str] | None], Counter[str]]:
        """What `start` returns, once all that were begun have ended."""
        home = self._now
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        self._errors.seek(0)
        assert line, self._errors.read()
        told = Counter(
            str(event.get("what") if event.get("e") == "problem" else event.get("e"))
            for events in home.glob("*/events")
            for process in read_processes(events)
            for event in process
        )
        self.binaries = len(list(home.glob("*/cache/*/*.cubin")))
        # A courier may outlive its program, and has the claim of a pull as long as that takes.
        left = (path.name for path in home.glob("*/tmp/**/*.claim"))
        self.left = sorted(name for name in left if not name.startswith("pull-"))
        winners: list[dict[str, str] | None] = json.loads(line)["winners"]
        return winners, told

    def close(self) -> None:
        self._program.communicate(timeout=60)
        self._errors.close()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    made = Ranks(tmp_path_factory.mktemp("ranks"))
    yield made
    made.close()


def the_same(winners: list[dict[str, str] | None]) -> bool:
    ended = [one for one in winners if one is not None]
    return all(one == ended[0] and set(one) == set(map(str, KEYS)) for one in ended)


def test_one_measures_and_all_compile(ranks: Ranks) -> None:
    winners, told = ranks.start(3)
    assert None not in winners
    assert the_same(winners)
    assert (told["tune"], told["measure"]) == (len(KEYS), len(KEYS) * CANDIDATES)
    # All keys need the same binaries.
    assert (told["compile"], ranks.binaries) == (CANDIDATES, CANDIDATES)
    assert told["wait"] == 2 * len(KEYS)
    assert ranks.left == []
    assert not {name for name in told if name.startswith("internal")}


def test_kernels_that_are_to_be_measured_apart_are(ranks: Ranks) -> None:
    winners, told = ranks.start(2, apart="somewhat*, ad?")
    assert None not in winners
    assert told["wait"] == 0
    assert told["tune"] > len(KEYS)


@pytest.mark.parametrize("after", [1, pytest.param(5, marks=pytest.mark.thorough), 20])
def test_another_goes_on_where_one_is_killed(ranks: Ranks, after: int) -> None:
    winners, told = ranks.start(3, signal=["SIGKILL", after])
    assert winners.count(None) == 1
    assert the_same(winners)
    assert told["tune"] == len(KEYS)
    assert not {name for name in told if name.startswith("internal")}


def test_nobody_waits_for_one_that_is_stopped(ranks: Ranks) -> None:
    """It goes on when the others have ended, and adopts what they have found."""
    winners, told = ranks.start(2, signal=["SIGSTOP", 5])
    assert None not in winners
    assert the_same(winners)
    assert told["tune"] == len(KEYS) + 1


def test_a_collective_that_others_have_not_come_to_holds_nobody_up(ranks: Ranks) -> None:
    """One has begun it when it meets the key, and another one meets the key first."""
    winners, told = ranks.start(2, collective=True)
    assert the_same(winners)
    assert told["tune"] == len(KEYS)


@pytest.fixture(scope="module", params=["redis", "s3", "files"])
def remote(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What tells ranks of something that machines share."""
    if request.param == "redis":
        with redis_server() as port:
            yield {"remote": f"redis://127.0.0.1:{port}"}
    elif request.param == "s3":
        with moto_server("results") as url:
            yield {"remote": "s3://results/fleet", "environ": s3_environment(url)}
    else:
        yield {"remote": f"file://{tmp_path_factory.mktemp('shared')}"}


def test_of_machines_that_start_together_one_measures(ranks: Ranks, remote: dict[str, Any]) -> None:
    winners, told = ranks.start(2, machines=2, patient=True, **remote)
    assert None not in winners
    assert the_same(winners)
    assert (told["tune"], told["measure"]) == (len(KEYS), len(KEYS) * CANDIDATES)
    assert (told["compile"], ranks.binaries) == (2 * CANDIDATES, 2 * CANDIDATES)
    assert not {name for name in told if name.startswith(("internal", "remote_"))}
    # A machine that comes later has nothing to measure, and compiles what won.
    (later,), told = ranks.start(1, patient=True, **remote)
    assert later == winners[0]
    assert (told["tune"], told["measure"], told["resolve"]) == (0, 0, len(KEYS))
    assert told["compile"] < CANDIDATES


@pytest.mark.thorough
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "count"), [("SIGKILL", 100), ("SIGSTOP", 40)])
def test_at_random_points(ranks: Ranks, name: str, count: int) -> None:
    generator = random.Random(count)
    for _ in range(count):
        # A tuning goes on some hundred times.
        after = generator.randint(1, 100)
        winners, told = ranks.start(3, signal=[name, after])
        assert winners.count(None) == (name == "SIGKILL"), after
        assert the_same(winners), after
        assert not {name for name in told if name.startswith("internal")}, after
