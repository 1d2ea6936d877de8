"""`--json` and `--output`: where a document goes, and what is never written over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tuneonce.cli._output import Output, _check
from tuneonce.errors import TuneonceError, UsageError

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

OURS = '{\n  "schema": "tuneonce.tune/1",\n  "command": []\n}\n'
COMMANDS = (
    ["tune", "--output", "FILE", "work.py"],
    ["bench", "regret", "--output", "FILE", "work.py"],
    ["bench", "serve", "--port", "1", "--output", "FILE"],
    ["bench", "restart", "--output", "FILE", "--", "work.py", "{port}"],
    ["demo", "--device", "cpu", "--output", "FILE"],
)


pytestmark = pytest.mark.usefixtures("here")


def test_json_is_a_flag_and_a_program_keeps_its_source(tell: Tell, here: Path) -> None:
    source = "import sys; assert sys.argv[1:] == ['config.yaml']\n"
    (here / "train.py").write_text(source)
    said = tell("tune", "--json", "train.py", "config.yaml")
    assert said.code == 2  # it has launched no kernel
    assert said.json["schema"] == "tuneonce.tune/1"
    assert (here / "train.py").read_text() == source


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]))
@pytest.mark.parametrize("held", ["print('precious')\n", "", '{"schema": "tuneonce.events/1"}\n'])
def test_what_is_no_document_of_the_command_is_left(
    tell: Tell, here: Path, command: list[str], held: str
) -> None:
    (here / "train.py").write_text(held)
    said = tell(*("train.py" if word == "FILE" else word for word in command))
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "train.py" in said.err
    assert (here / "train.py").read_text() == held
    assert not (here / "ran").exists()


def test_an_earlier_document_is_replaced_behind_a_link_too(tell: Tell, here: Path) -> None:
    (here / "real.json").write_text(OURS)
    (here / "link.json").symlink_to("real.json")
    tell("tune", "--output", "link.json", "work.py")
    assert (here / "link.json").is_symlink()
    assert json.loads((here / "real.json").read_text())["command"] == ["work.py"]
    tell("tune", "--output", "new.json", "work.py")
    assert (here / "new.json").read_text().startswith('{\n  "schema": "tuneonce.tune/1"')


def test_both_at_once(tell: Tell, here: Path) -> None:
    said = tell("tune", "--json", "--output", "new.json", "work.py")
    assert said.json == json.loads((here / "new.json").read_text())
    assert "0 keys tuned" in said.err


@pytest.mark.parametrize("place", ["-", "", "/dev/null", ".", "pipe", "no/such/place"])
def test_places_that_are_no_file(tell: Tell, here: Path, place: str) -> None:
    os.mkfifo(here / "pipe")
    said = tell("tune", "--output", place, "work.py")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert not (here / "ran").exists()
    assert Path("/dev/null").is_char_device()


def test_another_commands_document_is_kept(here: Path) -> None:
    path = here / "measured-for-hours.json"
    path.write_text('{"schema":"tuneonce.bench-restart/1"}')
    _check(path, "tuneonce.bench-restart/2")
    with pytest.raises(UsageError, match=r"tuneonce\.bench-serve"):
        _check(path, "tuneonce.bench-serve/1")


def test_a_file_that_came_meanwhile_is_left(here: Path) -> None:
    path = here / "out.json"
    out = Output(json=False, path=path, schema="tuneonce.tune/1")
    out.save(OURS.encode())
    out.save(OURS.encode())
    path.write_text("precious")
    with pytest.raises(TuneonceError, match="left as it is"):
        out.save(OURS.encode())
    assert path.read_text() == "precious"
