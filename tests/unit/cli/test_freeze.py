"""`tuneonce freeze`, and what other commands say of what it has written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import make_key, put_damaged, put_verdict
from tuneonce.model.frozen import read_document
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture
def filled(store: FileStore) -> FileStore:
    for name in ("add", "mul"):
        for n in (1, 2):
            put_verdict(store, make_key(name, tuning={"n": n}), TIMES)
    return store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "winners.json"


@pytest.mark.usefixtures("filled")
def test_the_document_is_written_and_printed(tell: Tell, file: Path) -> None:
    said = tell("freeze", "--output", str(file))
    found = read_document(file.read_bytes())
    assert said.code == 0
    assert f"4 winners of 2 kernels in {file.parent / 'store'}, digest {found.name}" in said.words
    assert f"written to {file}" in said.words
    said = tell("freeze", "--json")
    assert said.out.encode() == file.read_bytes()
    assert (said.code, "digest" in said.err) == (0, True)
    data = file.read_bytes()
    assert tell("freeze", "--output", str(file)).code == 0
    assert file.read_bytes() == data


@pytest.mark.usefixtures("filled")
def test_without_a_file_it_shows_them(tell: Tell) -> None:
    said = tell("freeze", "--kernel", "add")
    assert said.code == 0
    assert "BLOCK=128 num_warps=4" in said.out
    assert "mul" not in said.out
    assert "2 winners of 1 kernel" in said.words
    assert "`--output FILE` writes them." in said.words


@pytest.mark.usefixtures("filled")
def test_a_kernel_or_a_file_that_is_wrong(tell: Tell, file: Path) -> None:
    said = tell("freeze", "--kernel", "ad")
    assert (said.code, "did you mean add" in said.err) == (2, True)
    file.write_text("print('a program')")
    said = tell("freeze", "--output", str(file))
    assert (said.code, file.read_text()) == (2, "print('a program')")


def test_an_empty_store_has_no_winner(tell: Tell, store: FileStore, file: Path) -> None:
    assert tell("freeze").code == 1  # there is no store
    Path(store.describe().location).mkdir()
    assert tell("freeze", "--output", str(file)).code == 0
    assert read_document(file.read_bytes()).winners == []


def test_what_cannot_be_read_is_told(tell: Tell, store: FileStore, file: Path) -> None:
    bad = put_damaged(store, Path(store.describe().location))
    said = tell("freeze", "--output", str(file))
    assert said.code == 1
    assert all(name in said.out for name in bad)
    assert "What could not be read is not among them." in said.words
    assert [one.kernel for one in read_document(file.read_bytes()).winners] == ["whole"]


# -- verify --frozen -----------------------------------------------------------------------------


def test_verify_against_what_was_frozen(tell: Tell, filled: FileStore, file: Path) -> None:
    tell("freeze", "--output", str(file))
    name = read_document(file.read_bytes()).name
    said = tell("verify", "--frozen", str(file))
    assert said.code == 0
    assert f"4 of 4 frozen winners (digest {name}) are the store's" in said.words
    put_verdict(filled, make_key("add", tuning={"n": 1}), TIMES, winner=64)
    put_verdict(filled, make_key("new"), TIMES)
    tell("rm", "mul", "--yes")
    said = tell("verify", "--frozen", str(file))
    assert said.code == 1
    assert "1 of 4 frozen winners" in said.words
    assert "2 missing, 1 different; 1 winner of the store are not frozen" in said.words
    assert "add n=1, 16–63 programs" in said.words
    assert "BLOCK=128 num_warps=4; the store says BLOCK=64 num_warps=4" in said.words
    assert "BLOCK=128 num_warps=4; the store says nothing" in said.words
    document = tell("verify", "--json", "--frozen", str(file)).json
    assert document["schema"] == "tuneonce.verify/1"
    assert (document["verdicts"], document["bad"]) == (3, [])
    assert document["frozen"]["sha256"][:12] == name
    assert [one["tuning"] for one in document["frozen"]["missing"]] == ["n=1", "n=2"]
    assert document["frozen"]["different"][0]["stored"] == "BLOCK=64 num_warps=4"
    assert tell("verify", "--json").json["frozen"] is None
    assert tell("verify").code == 0


@pytest.mark.usefixtures("filled")
def test_verify_against_a_file_that_is_none(tell: Tell, file: Path) -> None:
    said = tell("verify", "--frozen", str(file))
    assert (said.code, str(file) in said.err, said.err.count("\n")) == (2, True, 1)


# -- env, doctor, run, tune ----------------------------------------------------------------------


@pytest.mark.usefixtures("filled")
def test_env_and_doctor_show_what_is_fixed(tell: Tell, file: Path) -> None:
    assert "winners" not in tell("env", "--no-probe").out
    document = tell("env", "--no-probe", "--json").json
    assert (document["deterministic"], document["frozen"]) == (False, None)
    tell("freeze", "--output", str(file))
    found = read_document(file.read_bytes())
    os.environ["TUNEONCE_DETERMINISTIC"] = "1"
    assert "winners deterministic (TUNEONCE_DETERMINISTIC)" in tell("env", "--no-probe").words
    os.environ["TUNEONCE_FROZEN"] = str(file)
    words = f"4 frozen in {file}, digest {found.name}"
    for command in ("env", "doctor"):
        assert words in tell(command, "--no-probe").words
    document = tell("env", "--no-probe", "--json").json
    assert document["deterministic"] is True
    assert document["frozen"] == {
        "file": str(file),
        "sha256": found.sha256,
        "winners": 4,
        "error": None,
    }


def broken_file(file: Path) -> None:
    file.write_text("{}")
    os.environ["TUNEONCE_FROZEN"] = str(file)


def test_env_and_doctor_say_what_is_wrong_with_a_file(tell: Tell, file: Path) -> None:
    broken_file(file)
    assert "off: the frozen winners in" in tell("env", "--no-probe").words
    checks = tell("doctor", "--no-probe", "--json").json["checks"]
    assert [one["verdict"] for one in checks if one["name"] == "winners"] == ["wrong"]


@pytest.mark.usefixtures("here")
def test_a_file_that_cannot_be_used_starts_no_program(tell: Tell, file: Path) -> None:
    broken_file(file)
    for command in (["run", "--", "true"], ["tune", "work.py"]):
        said = tell(*command)
        assert (said.code, "cannot be used" in said.err) == (2, True)
    assert not (file.parent / "ran").exists()


@pytest.mark.usefixtures("here")
def test_no_program_is_run_to_tune_where_nothing_is_tuned(tell: Tell, file: Path) -> None:
    os.environ["TUNEONCE_DETERMINISTIC"] = "1"
    for command in (["tune", "work.py"], ["bench", "regret", "work.py"]):
        said = tell(*command)
        assert (said.code, "nothing would be measured" in said.err) == (2, True)
    assert not (file.parent / "ran").exists()
