"""The command line as a person meets it: words in, an exit code and two texts out."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tuneonce.bench.restart import Plan
from tuneonce.cli import _render, bench, demo, main
from tuneonce.settings import read
from tuneonce.store.files import FileStore


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """Standard output with its lines joined, for sentences that were wrapped."""
        return " ".join(self.out.split())


Tell = Callable[..., Said]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """An empty store, which `tell` looks at."""
    return FileStore(tmp_path / "store")


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Where processes that use `store` write their events."""
    found = read({**os.environ, "TUNEONCE_STORE": str(tmp_path / "store")}).events
    assert found is not None
    return found


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes that on which `tell` prints a terminal."""
    monkeypatch.setattr(_render, "is_terminal", lambda **which: True)


AsNobody = Callable[[], contextlib.AbstractContextManager[None]]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def as_nobody() -> AsNobody:
    """Do something as a user whom permissions hold, which they do not hold root.

    What it imports must have been imported before.
    """

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return context


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a program that would leave a trace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNEONCE", raising=False)
    monkeypatch.delenv("TRITON_CACHE_AUTOTUNING", raising=False)
    (tmp_path / "work.py").write_text("open('ran', 'w').close()\n")
    return tmp_path


@pytest.fixture
def tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tell]:
    """Runs a command in a window of 80 columns, with its output in a pipe, in UTC."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TUNEONCE_STORE", str(tmp_path / "store"))
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()

    def run(*words: str) -> Said:
        capsys.readouterr()
        try:
            code = main(list(words))
        except SystemExit as exit:  # argparse's way out
            code = int(exit.code or 0)
        told = capsys.readouterr()
        return Said(code, told.out, told.err)

    yield run
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Collects the plans that `bench` and `demo` would carry out."""
    collected: list[Plan] = []

    def carry_out(plan: Plan, *, out: str | None) -> int:
        collected.append(plan)
        return 0

    for command in (bench, demo):
        monkeypatch.setattr(command, "carry_out", carry_out)
    return collected
