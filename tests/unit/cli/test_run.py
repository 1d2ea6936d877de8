"""`tuneonce run`: what it says before it becomes the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tuneonce.cli.run import reads_no_start_up_files


@pytest.mark.parametrize(
    "words",
    [
        "python -S x.py",
        "python3 -S -c pass",
        "python3.11 -S",
        "/usr/bin/python3.13t -S x.py",
        "./venv/bin/python -IS x.py",
        "python -SE x.py",
        "python -X foo -S x.py",
        "python -Xfoo -S x.py",
        "python -W error -u -S x.py",
        "python -uW error -S x.py",
        "python -EsSm server",
        "python --check-hash-based-pycs always -S x.py",
    ],
)
def test_python_without_start_up_files(words: str) -> None:
    assert reads_no_start_up_files(words.split())


@pytest.mark.parametrize(
    "words",
    [
        "python x.py -S",
        "python",
        "python -I x.py",
        "python -s x.py",
        "python -c pass -S",
        "python -m server -S",
        "python -ImS server",
        "python -X -S x.py",
        "python -WS x.py",
        "python - -S",
        "python -- -S",
        "python -cS",
        "vllm serve -S",
        "pythonic -S",
        "python-config -S",
        "sort -S 1G",
    ],
)
def test_what_reads_them_or_is_no_python(words: str) -> None:
    assert not reads_no_start_up_files(words.split())


TOLD = "tuneonce: no autotuned kernel was launched\n"


def test_it_is_said_in_one_line_and_the_command_runs_as_it_is(tmp_path: Path) -> None:
    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **more}
        command = [sys.executable, "-m", "tuneonce", "run", "--", *words]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100
        )

    code = "import sys; print(sys.argv, 'site' in sys.modules); sys.exit(7)"
    done = run(sys.executable, "-S", "-c", code, "-x")
    assert (done.returncode, done.stdout) == (7, "['-c', '-x'] False\n")
    assert done.stderr.count("\n") == 1
    assert "call" in done.stderr
    assert "tuneonce.install()" in done.stderr
    assert run(sys.executable, "-c", code, "-S").stderr == TOLD
    assert run(sys.executable, "-S", "-c", code, TUNEONCE="0").stderr == ""
