"""Killed, forked and crowded while tuning: what was measured is not measured again.

The programs run Triton's interpreter on a kernel without tensors, which needs no torch. Nothing
here sleeps: a child tells through a pipe how far it is, and waits there if it is to be met there.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.fakes import ROOT, events_of, last_json, measurements_left
from tuneonce.events.log import read_processes
from tuneonce.events.totals import Totals, total
from tuneonce.model.codec import decode
from tuneonce.model.records import Measurement, Verdict, unpack

pytest.importorskip("triton")

KERNEL = """
import json, os, sys
import triton, triton.language as tl
import tuneonce

tuneonce.install()
BLOCKS = [16 * number for number in range(1, int(os.environ.get("CANDIDATES", "40")) + 1)]
met = 0

def bench(call, quantiles):
    global met
    call()
    met += 1
    return measure(met)

@triton.autotune([triton.Config({"B": b}) for b in BLOCKS], key=["n"], do_bench=bench)
@triton.jit
def kernel(n, B: tl.constexpr):
    tl.program_id(0) * B + n

def launch(n=1):
    kernel[(1,)](n)
    return kernel.best_config.kwargs["B"]
"""

# Tells when each candidate begins, and stays in the one that it is told to stay in.
KILLED = (
    KERNEL
    + """
def measure(met):
    os.write(1, b".")
    if met == int(os.environ.get("STAY_IN", "0")):
        sys.stdin.read()
    return [1.0 + abs(met - 7)] * 3

best = launch()
print("\\n" + json.dumps([best]))
"""
)


class Place:
    """The directories of one test."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = home / "store"

    def environment(self, **more: object) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.home),
            "TUNEONCE_STORE": str(self.store),
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": str(ROOT / "src"),
            **{name: str(value) for name, value in more.items()},
        }

    @contextmanager
    def child(self, program: str, **environment: object) -> Iterator[subprocess.Popen[bytes]]:
        path = self.home / "x.py"
        if not path.exists():  # a crowd reads it
            path.write_text(program)
        with subprocess.Popen(
            [sys.executable, path],
            env=self.environment(**environment),
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, program: str, **environment: object) -> Any:
        with self.child(program, **environment) as process:
            out, problems = process.communicate(timeout=100)
        assert process.returncode == 0, problems.decode()
        assert problems == b""
        return last_json(out.decode())

    def processes(self) -> list[Totals]:
        """What each process did, the oldest first."""
        return [
            total([lines]) for lines in read_processes(events_of(self.store, self.environment()))
        ]

    def left(self) -> list[Measurement]:
        """What was measured and is in no verdict yet."""
        return measurements_left(self.store / ".journal")

    def records(self, ending: str) -> list[Path]:
        return sorted(self.store.glob(f"v1/*/*/*/*{ending}"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def read_dots(pipe: IO[bytes] | None, count: int) -> None:
    assert pipe is not None
    for _ in range(count):
        assert os.read(pipe.fileno(), 1) == b"."


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_killed_at_half_of_forty_candidates(place: Place) -> None:
    with place.child(KILLED, STAY_IN=21) as process:
        read_dots(process.stdout, 21)
        kill(process)
    assert len(place.left()) == 20
    [best] = place.run(KILLED)
    first, second = place.processes()
    assert first.candidates_measured == 20
    assert second.candidates_measured <= 21
    assert second.candidates_measured == 20
    assert second.reasons == {"candidates_missing": 1}
    assert second.problems == {}
    # The seventh of the first process is the best, with the seventh of the second behind it.
    assert best == 16 * 7
    assert place.left() == []
    place.run(KILLED)
    assert (place.processes()[-1].hits, place.processes()[-1].tunes) == (1, 0)


def test_killed_in_the_first_and_in_the_last_candidate(place: Place) -> None:
    for stay in (1, 40):
        with place.child(KILLED, STAY_IN=stay) as process:
            read_dots(process.stdout, stay)
            kill(process)
    assert [p.candidates_measured for p in place.processes()] == [0, 39]
    place.run(KILLED)
    assert place.processes()[-1].candidates_measured == 1


def test_killed_twice_in_the_same_candidate(place: Place) -> None:
    """It may be what ends the process, so it is left out then, and that is told."""
    for _ in range(2):
        with place.child(KILLED, STAY_IN=1) as process:
            read_dots(process.stdout, 1)
            kill(process)
    place.run(KILLED)
    assert [p.candidates_measured for p in place.processes()] == [0, 0, 39]
    assert place.processes()[-1].problems == {"candidate_ends_the_process": 1}
    assert list((place.store / ".journal").iterdir()) == []


def test_killed_again_and_again_at_any_moment(place: Place) -> None:
    """Each kill costs at most the one measurement that it interrupts."""
    rng = random.Random(40)
    kills = 0
    while sum(p.candidates_measured for p in place.processes()) < 16:
        with place.child(KILLED, STAY_IN=10) as process:
            # Still running: it is killed while it measures, writes a record or tells an event.
            read_dots(process.stdout, rng.randrange(2, 8))
            kill(process)
        kills += 1
        assert kills < 20
    place.run(KILLED)
    processes = place.processes()
    measured = sum(p.candidates_measured for p in processes)
    assert 40 <= measured <= 40 + kills
    assert all(p.problems == {} for p in processes)
    assert all(p.candidates_measured < 40 for p in processes)
    place.run(KILLED)
    assert (place.processes()[-1].hits, place.processes()[-1].tunes) == (1, 0)
    assert len(place.records(".verdict.json")) == 1


CROWD = (
    KERNEL
    + """
mine = int(os.environ["MINE"])

def measure(met):
    return [1.0 + abs(met - 1 - mine)] * 3

os.write(1, b".")
sys.stdin.readline()
best = launch()
print("\\n" + json.dumps({"best": best, "again": launch()}))
"""
)


def run_crowd(place: Place, count: int) -> list[int]:
    """The winners that `count` processes use, which meet one key at once."""
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(place.child(CROWD, MINE=number, CANDIDATES=8))
            for number in range(count)
        ]
        for process in crowd:
            read_dots(process.stdout, 1)
        for process in crowd:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        winners = []
        for process in crowd:
            out, problems = process.communicate(timeout=100)
            assert process.returncode == 0, problems.decode()
            assert problems == b""
            said = json.loads(out.split(b"\n")[-2])
            assert said["best"] == said["again"]
            winners.append(said["best"])
        return winners


def test_a_crowd_of_processes_meets_one_key(place: Place) -> None:
    winners = run_crowd(place, 4)
    [path] = place.records(".verdict.json")
    verdict = unpack(path.read_bytes(), Verdict)
    # Each process would have preferred another candidate; the first published is everybody's.
    assert len(verdict.measurements) == 8
    assert set(winners) == {winner_of(verdict)}
    assert sum(p.problems.get("record_unreadable", 0) for p in place.processes()) == 0
    assert set(run_crowd(place, 2)) == set(winners)
    later = place.processes()[4:]
    assert [(p.hits, p.tunes, p.candidates_measured) for p in later] == [(1, 0, 0)] * 2
    assert place.left() == []


def winner_of(verdict: Verdict) -> int:
    [config] = [m.config for m in verdict.measurements if m.candidate == verdict.winner]
    return int(decode(dict(config)["B"]))


FORKED = (
    KERNEL
    + """
import threading

first = os.getpid()
measuring, finish = threading.Event(), threading.Event()

def measure(met):
    if os.getpid() == first and met == 3:
        measuring.set()
        finish.wait()
    return [1.0 + abs(met - 2)] * 3

thread = threading.Thread(target=launch)
thread.start()
measuring.wait()
pid = os.fork()
if pid == 0:
    code = 1
    try:
        code = 0 if (launch(), launch(2)) == (32, 16) else 3
    finally:
        os._exit(code)
_, status = os.waitpid(pid, 0)
finish.set()
thread.join()
print(json.dumps([os.waitstatus_to_exitcode(status), launch()]))
"""
)


@pytest.mark.timeout(120)
def test_a_fork_while_another_thread_tunes(place: Place) -> None:
    assert place.run(FORKED, CANDIDATES=6, PYTHONWARNINGS="ignore") == [0, 32]
    child, parent = sorted(place.processes(), key=lambda process: -process.tunes)
    assert (child.tunes, parent.tunes) == (2, 1)
    # What the parent had measured before, the child did not measure.
    assert (child.candidates_measured, child.reasons["candidates_missing"]) == (4 + 6, 1)
    assert child.problems == parent.problems == {}
