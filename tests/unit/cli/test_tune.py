"""What `tuneonce tune` and `tuneonce bench regret` refuse before they run anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell


@pytest.fixture(autouse=True)
def _a_file_and_a_folder(here: Path) -> None:
    (here / "file").write_text("")
    (here / "there").mkdir()


@pytest.mark.parametrize("command", [["tune"], ["bench", "regret", "--fix"]])
@pytest.mark.parametrize("place", ["memory:", "file://{here}/there?readonly=1"])
def test_stores_that_keep_nothing(tell: Tell, here: Path, command: list[str], place: str) -> None:
    said = tell(*command, "--store", place.format(here=here), "work.py")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert not (here / "ran").exists()


def test_a_file_is_no_store_to_fill(tell: Tell, here: Path) -> None:
    said = tell("tune", "--store", "file", "work.py")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "is not a directory" in said.err
    assert not (here / "ran").exists()


def test_verdicts_are_checked_in_a_store_that_is_there(tell: Tell, here: Path) -> None:
    said = tell("bench", "regret", "--store", "absent", "work.py")
    assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1)
    assert "there is no store" in said.err
    assert not (here / "ran").exists()
    read_only = f"file://{here}/there?readonly=1"
    assert tell("bench", "regret", "--store", read_only, "work.py").code == 0
    assert (here / "ran").exists()


def test_keys_are_measured_whatever_a_server_does_with_new_ones(
    tell: Tell, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["TUNEONCE_ON_MISS_STARTING", "TUNEONCE_ON_MISS_SERVING", "TUNEONCE_RECHECK"]
    for name, value in zip(names, ("error", "borrow", "fix"), strict=True):
        monkeypatch.setenv(name, value)
    (here / "told.py").write_text(
        f"import os\nopen('told', 'w').write(repr([os.environ[name] for name in {names}]))\n"
    )
    tell("tune", "--store", "there", "told.py")
    assert (here / "told").read_text() == "['', '', '']"
