"""How a command ends when its output has nowhere to go, or somebody interrupts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from tests.factories import make_key, put_verdict
from tests.fakes import ROOT
from tuneonce.store.files import FileStore


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store whose listing is longer than a buffer."""
    made = FileStore(tmp_path / "store")
    put_verdict(made, make_key(tuning={"n": "x" * 20_000}), {64: (0.2,)})
    return tmp_path / "store"


def ends(
    store: Path, *words: str, stdout: int | IO[Any], prefix: str = ""
) -> tuple[int | None, str]:
    """The exit code, and what was said on standard error."""
    code = f"{prefix}\nimport sys; from tuneonce.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--store", str(store)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"], ["verify"]], ids=" ".join)
def test_a_full_disk_is_one_line(store: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        code, said = ends(store, *words, stdout=full)
    assert (code, said) == (1, "tuneonce: No space left on device\n")


@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"], ["verify"]], ids=" ".join)
def test_a_reader_that_is_gone(store: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert ends(store, *words, stdout=writing) == (141, "")
    finally:
        os.close(writing)


def test_ctrl_c(store: Path) -> None:
    at_work = (
        "import os, signal; from tuneonce.store.files import FileStore\n"
        f"FileStore.get = lambda *_: os.kill(os.getpid(), {int(signal.SIGINT)})"
    )
    assert ends(store, "ls", stdout=subprocess.DEVNULL, prefix=at_work) == (130, "")
