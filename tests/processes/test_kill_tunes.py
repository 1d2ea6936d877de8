"""A cold tune, killed at random moments: nothing that was found out is found out again.

The race and the compile pool are at work: real compilations in other processes, simulated times
without noise. Each kill is followed by the next start over the same store and the same cache of
Triton's, until one comes to its end; then all begins anew, until there were enough kills.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT, events_of, measurements_left
from tests.processes.groups import await_end_of
from tuneonce.events.log import read_processes
from tuneonce.model.codec import decode
from tuneonce.model.records import Measurement, Verdict, unpack
from tuneonce.tuning.expectations import Trust

pytest.importorskip("triton")
pytest.importorskip("torch")

KILLS = int(os.environ.get("KILLS", "6"))
WORKERS = 2
CANDIDATES = 14
# In the order in which they win; two of the candidates do not compile.
RUNNABLE = 12
WINNER = "BLOCK: 256"


class Starts:
    """Starts the program in new processes."""

    def __init__(self, home: Path) -> None:
        self._errors = (home / "errors").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/processes/kill_program.py")],
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
                "TUNEONCE_WORKERS": str(WORKERS),
                "TRITON_DEFAULT_FP_FUSION": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __call__(self, home: Path, *, after: float | None = None) -> dict[str, Any]:
        home.mkdir(exist_ok=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"home": str(home), "after": after}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, self.problems()
        said: dict[str, Any] = json.loads(line)
        return said

    def problems(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        self._process.communicate(timeout=60)
        self._errors.close()


@pytest.fixture
def starts(tmp_path: Path) -> Iterator[Starts]:
    made = Starts(tmp_path)
    yield made
    made.close()


@dataclass
class Kept:
    """What a start leaves behind, for the next one to find."""

    measured: dict[tuple[int, int, str], Measurement] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    binaries: dict[str, int] = field(default_factory=dict)

    @classmethod
    def at(cls, home: Path) -> Kept:
        """Reads every record; one that cannot be read fails the test."""
        kept = cls()
        for path in (home / "store").glob("v1/*/*/*/*.json"):
            if path.name.endswith(".verdict.json"):
                verdict = unpack(path.read_bytes(), Verdict)
                kept.verdicts.append(verdict)
                for measurement in verdict.measurements:
                    kept.measured[candidate(measurement)] = measurement
        for measurement in measurements_left(home / "store" / ".journal"):
            kept.measured[candidate(measurement)] = measurement
        for path in (home / "cache").glob("*/__grp__*.json"):
            kept.binaries[path.parent.name] = path.stat().st_ino
        return kept

    @property
    def ran(self) -> set[tuple[int, int]]:
        return {(b, w) for (b, w, _), m in self.measured.items() if m.failed is None}

    @property
    def failed(self) -> set[tuple[int, int, str]]:
        return {which for which, m in self.measured.items() if m.failed is not None}


def candidate(measurement: Measurement) -> tuple[int, int, str]:
    config = dict(measurement.config)
    values = {name: decode(config[name]) for name in ("BLOCK", "num_warps", "ASM")}
    return values["BLOCK"], values["num_warps"], values["ASM"].split(".")[0]


@dataclass
class Log:
    """What one start did."""

    launched: Counter[tuple[int, int]]
    helpers: set[int]
    broken: int

    @classmethod
    def taken(cls, home: Path) -> Log:
        path = home / "log"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        path.unlink(missing_ok=True)
        return cls(
            Counter((int(line[1]), int(line[2])) for line in lines if line[0] == "launch"),
            {int(line[1]) for line in lines if line[0] != "launch" and line[1] != "None"},
            sum(line[0] == "broken" for line in lines),
        )


def again_at_most(known: int, ran: dict[tuple[int, int], Measurement], least_ms: float) -> int:
    """How many candidates whose times are known a later start may look at.

    Those that may still win, the first of the list, and one in six of the others as a check; all,
    if it has found one (`least_ms`) that upsets what was expected.
    """
    trust = Trust()
    best = min((m.times[0] for m in ran.values()), default=math.inf)
    if best > trust.upset * least_ms:
        return known
    near = sum(m.times[0] <= trust.near * best for m in ran.values())
    promising = min(known, max(near, trust.least))
    rest = max(0, known - promising)
    return promising + min(1, rest) + math.ceil(rest / trust.probe_every)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_again_and_again(starts: Starts, tmp_path: Path) -> None:
    starts(tmp_path / "first")  # the first of all starts loads what the system has not cached
    undisturbed = starts(tmp_path / "undisturbed")
    assert undisturbed["done"], starts.problems()
    assert undisturbed["winner"].startswith(WINNER)
    found = Kept.at(tmp_path / "undisturbed")
    assert (len(found.measured), len(found.failed)) == (CANDIDATES, CANDIDATES - RUNNABLE)

    rng = random.Random(50)
    kills, rounds = 0, 0
    moments: Counter[str] = Counter()
    longest: float = undisturbed["seconds"]

    def goes_on() -> bool:
        """Beside other work a start is slower than the undisturbed one was: then most kills come
        before anything was measured, and more are needed."""
        return kills < KILLS or (moments["begun"] < KILLS // 4 and kills < 5 * KILLS)

    while goes_on():
        home = tmp_path / str(rounds)
        rounds += 1
        before = Kept()
        while True:
            after = rng.uniform(0.0, longest) if goes_on() else None
            said = starts(home, after=after)
            log = Log.taken(home)
            for helper in log.helpers:
                await_end_of(helper)
            kept = Kept.at(home)
            check_start(before, kept, log)
            if said["done"]:
                longest = max(longest, said["seconds"])
                break
            assert said["status"] == -9, starts.problems()
            kills += 1
            moments["tuned" if kept.verdicts else "begun" if kept.measured else "nothing"] += 1
            before = kept
        assert said["winner"] == undisturbed["winner"]
        check_end(home, kept, found)
    assert starts.problems() == ""
    # The moments were worth it.
    assert moments["begun"] >= KILLS // 4, moments


def check_start(before: Kept, after: Kept, log: Log) -> None:
    """What this start did, against what it found."""
    # What was recorded stays: in records of its own or in a verdict.
    assert before.measured.keys() <= after.measured.keys()
    # Of what was launched, at most the candidate in flight has no record.
    recorded = {which[:2] for which in after.measured}
    assert len(log.launched.keys() - recorded) <= 1
    # Nothing whose binary was complete is compiled again, and so nothing that has a record.
    for key, inode in before.binaries.items():
        assert after.binaries[key] == inode
    assert len(before.binaries) >= len(before.ran)
    # A candidate that is known to fail is not tried again.
    for block, warps, instruction in before.failed:
        if instruction == "bogus":
            assert log.broken == 0
        else:
            assert (block, warps) not in log.launched
    # One that was looked at is launched again only where that may change the answer.
    known = {which[:2]: m for which, m in before.measured.items() if m.failed is None}
    again = log.launched.keys() & known.keys()
    if before.verdicts:
        assert len(again) <= 1  # the launch itself
    else:
        ran = [m.times[0] for m in after.measured.values() if m.failed is None]
        least_ms = min(ran, default=math.inf)
        assert len(again) <= again_at_most(len(known), known, least_ms), (again, known.keys())


def check_end(home: Path, kept: Kept, undisturbed: Kept) -> None:
    [verdict] = kept.verdicts
    [expected] = undisturbed.verdicts
    assert verdict.winner == expected.winner
    assert kept.measured.keys() == undisturbed.measured.keys()
    assert kept.failed == undisturbed.failed
    assert kept.binaries.keys() == undisturbed.binaries.keys()
    compiles = problems = 0
    for lines in read_processes(events_of(home / "store", os.environ)):
        compiles += sum(line.get("e") == "compile" for line in lines)
        problems += sum(line.get("e") == "problem" for line in lines)
    assert compiles <= RUNNABLE
    assert problems == 0
