"""Processes that must launch the same: with a store, with a frozen set, and beside one that tunes.

The programs run Triton's interpreter on a kernel without tensors, which needs no torch.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import last_json
from tests.kernels.warm import WarmPython
from tests.processes.test_activation import Machine
from tests.processes.test_ready import LOGGING
from tuneonce.model.frozen import read_document

pytest.importorskip("triton")
pytest.importorskip("msgspec")

# The later in the list, the faster: a winner is told from the first candidate.
KERNEL = """
import itertools, os
import triton, triton.language as tl

times = itertools.count(100, -1)

def bench(call, quantiles):
    call()
    return [float(next(times))] * 3

@triton.autotune([triton.Config({"B": b}) for b in (16, 32, 64)], key=["n"], do_bench=bench)
@triton.jit
def kernel(n, B: tl.constexpr):
    tl.program_id(0) * B + n

def launch(n=1):
    kernel[(1,)](n)
    return kernel.best_config.kwargs["B"]
"""

BEST = """
import json, sys
import tuneonce
tuneonce.install()
import little
print(json.dumps([little.launch(int(n)) for n in sys.argv[1:]]))
"""
ON = {"TUNEONCE_DETERMINISTIC": "1"}


@pytest.fixture
def machine(tmp_path: Path, warm_interpreter: WarmPython) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    made = Machine(home, {"TUNEONCE_PROGRESS": "0"}, warm=warm_interpreter)
    made.write("little.py", KERNEL)
    return made


def tuneonce(machine: Machine, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command as it is typed, failed or not."""
    return subprocess.run(
        [sys.executable, "-m", "tuneonce", *words],
        env=machine.variables(**env),
        cwd=machine.home,
        capture_output=True,
        text=True,
        timeout=60,
    )


def best(machine: Machine, *keys: str, **env: str) -> Any:
    """What a program launches for each key."""
    done = machine.start_warm(machine.write("best.py", BEST), *keys, env=machine.variables(**env))
    assert done.stderr == ""
    return last_json(done.stdout)


def tree(folder: Path) -> dict[str, int]:
    found = [folder, *folder.rglob("*")] if folder.exists() else []
    return {str(one): one.stat().st_mtime_ns for one in found}


def test_ranks_agree_and_leave_nothing(machine: Machine) -> None:
    for order in (["1", "2"], ["2", "1"]):
        assert machine.tuneonce_run(BEST, *order, **ON) == [16, 16]
    assert tree(machine.store) == {}
    assert best(machine, "1") == [64]
    before = tree(machine.store)
    assert best(machine, "1", "2", **ON) == [64, 16]
    assert best(machine, "2", "1", **ON) == [16, 64]
    assert tree(machine.store) == before
    totals = machine.totals()
    assert (totals.tunes, totals.hits, totals.misses) == (1, 2, 7)
    assert totals.reasons["first_candidate"] == 6
    assert totals.problems == {}


def test_a_record_that_is_broken_stays_where_it_is(machine: Machine) -> None:
    best(machine, "1")
    [record] = machine.store.rglob("*.verdict.json")
    record.write_bytes(record.read_bytes()[:-9])
    before = tree(machine.store)
    assert best(machine, "1", **ON) == [16]
    assert tree(machine.store) == before
    assert machine.totals().problems == {"record_unreadable": 1}


@pytest.mark.slow
def test_freezing_guards_against_who_publishes_between_two_starts(machine: Machine) -> None:
    best(machine, "1")
    said = tuneonce(machine, "freeze", "--output", "winners.json")
    assert (said.returncode, said.stderr) == (0, "")
    frozen = {**ON, "TUNEONCE_FROZEN": "winners.json"}
    assert best(machine, "1", "2", **frozen) == [64, 16]
    assert best(machine, "2") == [64]  # another process, which tunes
    assert best(machine, "1", "2", **frozen) == [64, 16]
    assert best(machine, "1", "2", **ON) == [64, 64]
    said = tuneonce(machine, "verify", "--frozen", "winners.json")
    assert (said.returncode, "1 of 1 frozen winner " in said.stdout) == (0, True)
    assert tuneonce(machine, "rm", "--all", "--yes").returncode == 0
    assert best(machine, "1", "2", **frozen) == [64, 16]
    said = tuneonce(machine, "verify", "--frozen", "winners.json")
    assert (said.returncode, "the store says nothing" in said.stdout) == (1, True)


def test_a_pipe_of_the_two_commands(machine: Machine) -> None:
    best(machine, "1", "2")
    said = tuneonce(machine, "freeze", "--json")
    machine.write("copy.json", said.stdout)
    assert tuneonce(machine, "verify", "--frozen", "copy.json").returncode == 0
    assert tuneonce(machine, "freeze", "--json").stdout == said.stdout


def test_the_frozen_set_alone_answers_first(machine: Machine) -> None:
    best(machine, "1")
    tuneonce(machine, "freeze", "--output", "winners.json")
    tuneonce(machine, "rm", "--all", "--yes")
    frozen = {"TUNEONCE_FROZEN": "winners.json"}
    assert best(machine, "1", "2", **frozen) == [64, 64]
    totals = machine.totals()
    assert (totals.tunes, totals.reasons) == (2, {"unknown": 2})
    assert "frozen" not in totals.reasons


CHILD = """
import json, os, subprocess, sys
os.chdir("/")
done = subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True, text=True, check=True)
print(json.dumps([os.environ["TUNEONCE_FROZEN"], json.loads(done.stdout)]))
"""


def test_a_child_in_another_directory_has_the_same_file(machine: Machine) -> None:
    best(machine, "1")
    tuneonce(machine, "freeze", "--output", "winners.json")
    frozen = {**ON, "TUNEONCE_FROZEN": "winners.json"}
    program = machine.write("best.py", BEST.replace("tuneonce.install()", ""))
    file, found = machine.tuneonce_run(CHILD, str(program), "1", "2", **frozen)
    assert file == str(machine.home / "winners.json")
    assert found == [64, 16]


FORKED = """
import json, os, sys
import little
os.unlink("winners.json")
parent = little.launch(1)
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, json.dumps([little.launch(2), little.launch(1)]).encode())
    os._exit(0)
os.wait()
print(json.dumps([parent, json.loads(os.read(read, 1000))]))
"""


def test_it_is_read_once(machine: Machine) -> None:
    best(machine, "1", "2")
    tuneonce(machine, "freeze", "--output", "winners.json")
    frozen = {**ON, "TUNEONCE_FROZEN": "winners.json"}
    assert machine.tuneonce_run(FORKED, **frozen) == [64, [64, 64]]


# -- what is said --------------------------------------------------------------------------------

SERVER = """
import little
little.launch(1)
little.launch(2)
tuneonce.ready()
"""


def lines(machine: Machine, program: str, **env: str) -> list[str]:
    x = machine.write("x.py", LOGGING + program)
    done = machine.start_warm(x, env=machine.variables(**env))
    return (done.stdout + done.stderr).splitlines()


def test_the_log_says_what_holds(machine: Machine) -> None:
    best(machine, "1")
    tuneonce(machine, "freeze", "--output", "winners.json")
    name = read_document((machine.home / "winners.json").read_bytes()).name
    on, ready = lines(machine, SERVER, **ON)
    assert on == f"INFO tuneonce: on, store {machine.store}, deterministic"
    assert re.fullmatch(
        r"INFO tuneonce: ready: 1 hits, 0 tunes .*, deterministic, 1 first candidates", ready
    )
    on, ready = lines(machine, SERVER, **ON, TUNEONCE_FROZEN="winners.json")
    assert on.endswith(f", deterministic, frozen winners {name}")
    assert ready.endswith(f", deterministic, 1 first candidates, frozen winners {name}")
    on, ready = lines(machine, SERVER, TUNEONCE_FROZEN="winners.json")
    assert on.endswith(f"{machine.store}, frozen winners {name}")
    assert ready.endswith(f" saved, frozen winners {name}")
    assert " 1 tunes" in ready


def test_a_recheck_is_left_out_with_a_warning(machine: Machine) -> None:
    best(machine, "1")
    before = machine.totals()
    said = lines(machine, SERVER, **ON, TUNEONCE_RECHECK="fix")
    assert said[0].startswith("WARNING tuneonce: TUNEONCE_RECHECK=fix is left out")
    assert machine.totals().candidates_measured == before.candidates_measured
    assert not [event for event in machine.events() if event.get("e") == "recheck"]


OFF = """
import json, sys
import tuneonce
on = tuneonce.install()
import little
print(json.dumps([on, tuneonce.is_installed(), little.launch(1)]))
"""


@pytest.mark.parametrize(
    ("text", "deterministic"),
    [(None, "0"), ("", "1"), ('{"schema":"tuneonce.frozen/2"}', "1")],
)
def test_a_file_that_cannot_be_used_leaves_it_off(
    machine: Machine, text: str | None, deterministic: str
) -> None:
    if text is not None:
        machine.write("winners.json", text)
    env = {"TUNEONCE_FROZEN": "winners.json", "TUNEONCE_DETERMINISTIC": deterministic}
    x = machine.write("x.py", OFF)
    done = machine.start(sys.executable, x, env=machine.variables(**env))
    found: Any = last_json(done.stdout)
    assert found[:2] == [False, False]
    [warning] = done.stderr.splitlines()
    assert warning.startswith("tuneonce: stays off: the frozen winners in ")
    assert str(machine.home / "winners.json") in warning
    assert not machine.store.exists()
    # And whoever asks before starts nothing.
    said = tuneonce(machine, "run", "--", sys.executable, str(x), **env)
    assert (said.returncode, said.stdout) == (2, "")
    assert "cannot be used" in said.stderr
    # But what is off, or only counts, needs no such file.
    for word in ("0", "observe"):
        assert tuneonce(machine, "run", "--", "true", TUNEONCE=word, **env).returncode == 0


def test_observing_needs_no_file_and_is_not_deterministic(machine: Machine) -> None:
    env = {**ON, "TUNEONCE_FROZEN": "none.json", "TUNEONCE": "observe"}
    assert not [line for line in lines(machine, SERVER, **env) if "deterministic" in line]
    assert machine.totals().candidates_measured == 6


def test_a_first_candidate_is_explained(machine: Machine) -> None:
    best(machine, "1")
    best(machine, "2", **ON)
    said = tuneonce(machine, "why", "kernel")
    assert said.returncode == 0
    assert "key.n: 1 → 2" in said.stdout
    told = json.loads(tuneonce(machine, "stats", "--json").stdout)
    assert told["totals"]["reasons"]["first_candidate"] == 1
