"""The end of a process's start-up: said once, counted, and logged in two short lines.

The programs run Triton's interpreter on a kernel without tensors, which needs no torch.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import last_json
from tests.kernels.warm import WarmPython
from tests.processes.test_activation import FORCE_FIRST, KERNEL, Machine, outcome
from tuneonce.activation import install
from tuneonce.activation.install import child_environment
from tuneonce.events.totals import Totals

pytest.importorskip("triton")
pytest.importorskip("msgspec")

# What a server does: its lines go to standard output, without the names of loggers.
LOGGING = """
import json, logging, os, sys
import tuneonce
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(levelname)s %(message)s")
tuneonce.install()
"""
ON = "INFO tuneonce: on, store "
READY = re.compile(
    r"INFO tuneonce: ready: \d+ hits, \d+ tunes \(\d+\.\d s\), \d+ compiles \(\d+\.\d s\), "
    r"\d+\.\d s saved"
)


@pytest.fixture
def machine(tmp_path: Path, warm_interpreter: WarmPython) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    # What is counted is tuned, whichever phase it is first met in.
    made = Machine(home, {"TUNEONCE_ON_MISS_SERVING": "tune"}, warm=warm_interpreter)
    made.write("little.py", KERNEL)
    return made


def lines(machine: Machine, program: str, *, new: bool = False, **env: str | None) -> list[str]:
    """What the program wrote, standard error included; in a `new` process no Triton is there."""
    x = machine.write("x.py", LOGGING + program)
    variables = machine.variables(**env)
    if new:
        done = machine.start(sys.executable, x, env=variables)
    else:
        done = machine.start_warm(x, env=variables)
    return (done.stdout + done.stderr).splitlines()


SERVER = """
print("loading")
import little
print("kernels are there")
little.launch(1)
little.launch(2)
print("warmed up")
tuneonce.ready()
tuneonce.ready()
print("serving")
little.launch(2)
little.launch(3)
tuneonce.ready()
"""


def test_two_lines_and_nothing_else(machine: Machine) -> None:
    said = lines(machine, SERVER, new=True)
    assert said[:2] == ["loading", "kernels are there"]
    assert said[2] == f"{ON}{machine.store}"
    assert said[3] == "warmed up"
    assert READY.fullmatch(said[4])
    assert "ready: 0 hits, 2 tunes" in said[4]
    assert said[5:] == ["serving"]
    totals = machine.totals()
    assert (totals.ready, totals.tunes, totals.serving_tunes) == (1, 3, 1)
    assert 0 < totals.serving_s < totals.tune_s
    assert [event.get("e") for event in machine.events()].count("ready") == 1


def test_the_second_start_says_what_it_saved(machine: Machine) -> None:
    lines(machine, SERVER)
    said = lines(machine, SERVER)
    assert said[2] == f"{ON}{machine.store}"
    assert "ready: 2 hits, 0 tunes (0.0 s), 0 compiles (0.0 s)" in said[4]
    totals = machine.totals()
    assert (totals.ready, totals.tunes, totals.hits, totals.serving_tunes) == (2, 3, 3, 1)


def test_what_a_request_is_the_first_to_launch_waits_for_no_tuning(machine: Machine) -> None:
    """By default. On a device whose times nobody knows it runs what the nearest key runs."""
    usual = {"TUNEONCE_ON_MISS_SERVING": None}
    for _ in range(2):
        lines(machine, SERVER, **usual)
        totals = machine.totals()
        assert (totals.tunes, totals.serving_tunes) == (2, 0)
    assert (totals.hits, totals.borrowed) == (2, 2)
    # A start that tunes what it meets has been told of it.
    lines(machine, SERVER.replace("little.launch(2)\nprint", "little.launch(3)\nprint"), **usual)
    assert machine.totals().tunes == 3


@pytest.mark.parametrize("program", ["", "import triton\n", "import little\n"])
def test_nothing_where_no_kernel_runs(machine: Machine, program: str) -> None:
    ready = "tuneonce.ready()\ntuneonce.ready()\n"
    assert lines(machine, program + ready, new=True) == []
    assert machine.totals().ready == ("import" in program)


@pytest.mark.parametrize("before", ["", "tuneonce.uninstall()\n"])
def test_ready_where_tuneonce_is_off(machine: Machine, before: str) -> None:
    program = f"{before}tuneonce.ready()\nimport little\nlittle.launch()\ntuneonce.ready()\n"
    off = None if before else "0"
    assert lines(machine, program, new=True, TUNEONCE=off) == []
    assert not machine.store.exists()


def test_ready_before_the_first_kernel(machine: Machine) -> None:
    said = lines(machine, "import little\ntuneonce.ready()\nlittle.launch()\ntuneonce.ready()\n")
    assert said == [f"{ON}{machine.store}"]
    assert (machine.totals().ready, machine.totals().serving_tunes) == (1, 1)


def test_observing_splits_too_and_says_no_store(machine: Machine) -> None:
    said = lines(machine, SERVER, TUNEONCE="observe")
    assert not [line for line in said if line.startswith(ON)]
    totals = machine.totals()
    assert (totals.ready, totals.tunes, totals.serving_tunes) == (1, 3, 1)
    assert 0 < totals.serving_s < totals.tune_s


FORK = """
import little
little.launch(1)
tuneonce.ready()
sys.stdout.flush()
for number in range(2):
    if os.fork() == 0:
        if number:
            little.launch(2)
        tuneonce.ready()
        tuneonce.ready()
        if number:
            little.launch(3)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
little.launch(4)
tuneonce.ready()
"""


def test_a_forked_child_is_ready_for_itself(machine: Machine) -> None:
    said = lines(machine, FORK)
    assert [line for line in said if line.startswith(ON)] == [said[0]]
    ready = [line for line in said if READY.fullmatch(line)]
    # One of the parent and one of the child that ran a kernel: its own, not its parent's numbers.
    assert ["1 tunes" in line for line in ready] == [True, True]
    totals = machine.totals()
    assert (totals.processes, totals.ready, totals.tunes, totals.serving_tunes) == (3, 3, 4, 2)


def test_a_child_started_anew_is_ready_for_itself(machine: Machine) -> None:
    child = machine.write("child.py", LOGGING + SERVER)
    program = f"""
import subprocess
subprocess.run([sys.executable, {str(child)!r}], check=True)
import little
little.launch(1)
tuneonce.ready()
"""
    said = lines(machine, program)
    assert [READY.fullmatch(line) is not None for line in said].count(True) == 2
    assert (machine.totals().processes, machine.totals().ready) == (2, 2)
    assert outcome(machine.totals()) == (3, 9, 1)


def test_the_line_names_no_password(machine: Machine) -> None:
    said = lines(machine, "import little\nlittle.launch()\n", TUNEONCE_STORE="memory:")
    assert said == [f"{ON}memory:"]


# -- Autotuner.run replaced after us -------------------------------------------------------------

REPLACED = f"""
import little
from tuneonce.activation import install as activation
activation.check()
{FORCE_FIRST}
autotuner.Autotuner.run = run
little.launch()
activation.check()
activation.check()
tuneonce.ready()
tuneonce.ready()
"""


def test_whoever_replaces_run_later_is_noticed_once(machine: Machine) -> None:
    said = lines(machine, REPLACED)
    warnings = [line for line in said if line.startswith("WARNING")]
    assert warnings == ["WARNING tuneonce: __main__.run has replaced Autotuner.run and decides now"]
    assert said == warnings
    assert machine.totals().problems == {"replaced": 1}
    assert outcome(machine.totals()) == (0, 0, 0)


def test_ready_alone_notices_it(machine: Machine) -> None:
    said = lines(machine, REPLACED.replace("activation.check()\n", ""))
    assert len(said) == 1
    assert machine.totals().problems == {"replaced": 1}


def test_somebody_else_after_that_is_noticed_again(machine: Machine) -> None:
    program = (
        REPLACED.replace("tuneonce.ready()\n", "")
        + """
def another(self, *args, **kwargs):
    return run(self, *args, **kwargs)
autotuner.Autotuner.run = another
activation.check()
activation.check()
"""
    )
    lines(machine, program)
    assert machine.totals().problems == {"replaced": 2}


def test_whoever_calls_on_to_us_is_named_and_kernels_are_kept(machine: Machine) -> None:
    program = """
import little
import triton.runtime.autotuner as autotuner
ours = autotuner.Autotuner.run
def logged(self, *args, **kwargs):
    return ours(self, *args, **kwargs)
autotuner.Autotuner.run = logged
little.launch()
tuneonce.ready()
"""
    said = lines(machine, program)
    assert machine.totals().problems == {"replaced": 1}
    assert outcome(machine.totals()) == (1, 3, 0)
    assert any("__main__.logged has replaced" in line for line in said)
    lines(machine, program)
    assert outcome(machine.totals()) == (1, 3, 1)


def test_the_ways_in_agree_on_who_is_ready(machine: Machine) -> None:
    program = machine.write("y.py", "import little, tuneonce\nlittle.launch()\ntuneonce.ready()\n"
                            "print('[]')\n")  # fmt: skip
    done = machine.start(sys.executable, program, env=child_environment(machine.variables()))
    assert (last_json(done.stdout), done.stderr) == ([], "")
    assert machine.totals().ready == 1


def test_all_that_a_start_waits_for_takes_of_one_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plugin has made ready before, what was to be stored, and what is written down."""
    given: list[Any] = []
    replay = SimpleNamespace(
        warm=given.append, serve=lambda patience, *, watched: given.extend([patience, watched])
    )
    hook = SimpleNamespace(check=lambda: None, finish=given.append)
    installation = install._Installation(None, {})
    installation.hook, installation.replay = hook, replay
    installation.live = SimpleNamespace(ready=False, now=Totals)
    installation.events = SimpleNamespace(emit=lambda event: None)
    installation.phases = SimpleNamespace(serve=lambda: None)
    monkeypatch.setattr(install, "_installed", installation)
    install.warm_before_watch()
    with given[0].waiting():
        given[0]._clock = lambda: math.inf  # the store was slow
    given[0]._clock = lambda: 0.0
    install.ready()
    patience = given[0]
    assert given == [patience, 0.0, patience, True]
