"""Programs over a base: what an image brings is used, and what is new goes to the store."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.processes.test_activation import KERNEL, Machine
from tests.processes.test_ready import LOGGING

pytest.importorskip("triton")
pytest.importorskip("msgspec")

PROGRAM = """
import little
for n in map(int, os.environ["LAUNCHED"].split()):
    little.launch(n)
tuneonce.ready()
print("served")
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    made = Machine(home, {"TUNEONCE_STORE": str(tmp_path / "own")})
    made.write("little.py", KERNEL)
    return made


@pytest.fixture
def baked(machine: Machine, tmp_path: Path) -> Path:
    """What one start of the program has left, which nobody may change."""
    place = tmp_path / "baked"
    start(machine, "1 2", TUNEONCE_STORE=str(place))
    for path in (place, *place.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, 12345, 12345)
        path.chmod(0o555 if path.is_dir() else 0o444)
    return place


def start(machine: Machine, launched: str, **env: str) -> list[str]:
    """What the program says that launches these keys."""
    x = machine.write("x.py", LOGGING + PROGRAM)
    variables = machine.variables(LAUNCHED=launched, **env)
    done = machine.start(sys.executable, x, env=variables)
    return [line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line]


def verdicts(place: Path) -> int:
    return len([*place.rglob("*.verdict.json")])


def test_the_first_start_of_an_image_tunes_nothing(
    machine: Machine, baked: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    before = {path: path.stat().st_mtime_ns for path in baked.rglob("*")}
    assert start(machine, "1 2", TUNEONCE_BASE=str(baked)) == []
    totals = machine.totals(own)
    assert (totals.hits, totals.tunes, totals.problems) == (2, 0, {})
    assert verdicts(own) == 0
    # What is new is kept beside, and the next start has both.
    assert start(machine, "1 2 3", TUNEONCE_BASE=str(baked)) == []
    assert start(machine, "1 2 3", TUNEONCE_BASE=f"file://{baked}") == []
    totals = machine.totals(own)
    assert (totals.hits, totals.tunes) == (2 + 2 + 3, 1)
    assert verdicts(own) == 1
    assert {path: path.stat().st_mtime_ns for path in baked.rglob("*")} == before


def test_a_base_that_is_not_there_is_one_warning(machine: Machine, tmp_path: Path) -> None:
    (said,) = start(machine, "1 2", TUNEONCE_BASE=str(tmp_path / "baked"))
    assert said.endswith("No such file or directory; going on without the base (TUNEONCE_BASE)")
    totals = machine.totals(tmp_path / "own")
    assert (totals.tunes, totals.problems) == (2, {"base_failed": 1})


def test_a_base_in_the_store_is_one_warning(machine: Machine, tmp_path: Path) -> None:
    (said,) = start(machine, "1", TUNEONCE_BASE=str(tmp_path / "own"))
    assert "is left out: it is the store itself" in said
    assert machine.totals(tmp_path / "own").tunes == 1


def test_a_base_that_is_far_away_keeps_it_off_and_says_what_to_do(
    machine: Machine, tmp_path: Path
) -> None:
    (said,) = start(machine, "1", TUNEONCE_BASE="s3://bucket/results")
    assert "stays off: TUNEONCE_BASE is a directory" in said
    assert not (tmp_path / "own").exists()
