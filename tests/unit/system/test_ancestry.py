"""Names of processes that no other process gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import ROOT, run_python
from tuneonce.system import ancestry
from tuneonce.system.ancestry import age_s, lineage, started_ticks, this_process

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")

CHILD = """
import json
from tuneonce.system.ancestry import age_s, lineage, this_process
print(json.dumps([this_process(), lineage(), age_s()]))
"""


@needs_proc
def test_a_child_comes_from_this_process() -> None:
    name, line, age = json.loads(run_python("-c", CHILD))
    assert line[0] == name
    assert line[1:] == lineage()
    assert lineage()[0] == this_process() != name
    assert 0 < age < age_s()


@needs_proc
def test_one_that_a_process_in_between_has_started_comes_from_this_one_too() -> None:
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    _, line, _ = json.loads(run_python("-c", command))
    assert line[2:] == lineage()


@needs_proc
def test_the_same_id_at_another_time_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before, fields = this_process(), ancestry._stat(os.getpid())
    assert fields is not None
    assert started_ticks() == fields[19]
    later = [*fields[:19], str(int(fields[19]) + 1), *fields[20:]]
    monkeypatch.setattr(ancestry, "_stat", lambda pid: later)
    assert this_process() != before
    assert this_process().split(".")[0] == before.split(".")[0]


@needs_proc
def test_a_program_may_be_called_anything(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to(sys.executable)
    # By another name Python does not find the environment's packages.
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), *sys.path]))
    done = subprocess.run(
        [odd, "-c", CHILD],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[1][1:] == lineage()


def test_without_a_word_of_the_system_ids_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ancestry, "_stat", lambda pid: None)
    monkeypatch.setattr(ancestry, "_namespace", lambda: "0")
    assert lineage() == [f"{os.getpid()}.0.0", f"{os.getppid()}.0.0"]
    assert this_process() == lineage()[0]
    assert (age_s(), started_ticks()) == (0.0, "0")
