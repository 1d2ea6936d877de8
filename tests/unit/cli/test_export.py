"""`tuneonce export`."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import H100, leave_in_journal, make_key, put_damaged, put_verdict, put_wanted
from tests.fakes import journal_folder
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture
def filled(store: FileStore) -> FileStore:
    put_verdict(store, make_key("add"), TIMES)
    put_verdict(store, make_key("add", product=H100), TIMES)
    put_verdict(store, make_key("mul"), TIMES)
    put_wanted(store, make_key("add"), 64)
    leave_in_journal(journal_folder(store), make_key("add"), 256, 0.3)
    return store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.tgz"


def test_records_are_written_into_a_file(tell: Tell, filled: FileStore, file: Path) -> None:
    said = tell("export", str(file))
    assert (said.code, said.err) == (0, "")
    location = filled.describe().location
    assert said.out.startswith(f"export of {location} to {file}: 3 records of 2 kernels, digest ")
    with tarfile.open(file) as tar:
        first, *names = tar.getnames()
        assert first == "tuneonce.json"
        assert names == sorted(name for name in filled.list("") if ".wanted." not in name)
        for name in names:
            member = tar.extractfile(name)
            assert member is not None
            assert member.read() == filled.get(name)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


def test_the_same_records_give_the_same_file(
    tell: Tell, filled: FileStore, file: Path, tmp_path: Path
) -> None:
    """Filled in another order, at another time, under another name, exported over an older one."""
    other = FileStore(tmp_path / "other")
    for name in sorted(filled.list(""), reverse=True):
        data = filled.get(name)
        assert data is not None
        other.put(name, data)
    first = tell("export", str(file), "--json").json
    again = tmp_path / "again.tgz"
    tell("export", str(again), "mul")
    second = tell("export", str(again), "--store", str(tmp_path / "other"), "--json").json
    assert again.read_bytes() == file.read_bytes()
    assert first["sha256"] == second["sha256"]
    inside = subprocess.run(["gzip", "-dc", file], capture_output=True, check=True).stdout
    assert hashlib.sha256(inside).hexdigest() == first["sha256"]


@pytest.mark.usefixtures("filled")
def test_the_document_has_what_was_written(tell: Tell, store: FileStore, file: Path) -> None:
    document = tell("export", str(file), "add", "--world", "*h100", "--json").json
    assert len(document.pop("sha256")) == 64
    assert document == {
        "schema": "tuneonce.export/1",
        "store": store.describe().location,
        "file": str(file),
        "records": 1,
        "kernels": 1,
        "unusable": 0,
        "problems": [],
    }


def test_what_cannot_be_read_is_told(tell: Tell, store: FileStore, file: Path) -> None:
    bad = put_damaged(store, Path(store.describe().location))
    said = tell("export", str(file))
    assert said.code == 1
    assert all(f"problem: {name} is not written: " in said.out for name in bad)
    assert "1 record of 1 kernel, 4 not written" in said.out
    assert file.exists()


@pytest.mark.usefixtures("filled")
def test_a_file_that_is_something_else_is_left(tell: Tell, file: Path, tmp_path: Path) -> None:
    file.write_text("print('a program')")
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    for name, what in (
        (str(file), "is no archive of this command"),
        (str(tmp_path / "link"), "is no archive of this command"),
        (str(tmp_path / "pipe"), "not a regular file"),
        (str(tmp_path), "is a directory"),
        (str(tmp_path / "none/file"), "there is no directory"),
        ("", "empty"),
    ):
        said = tell("export", name)
        assert (said.code, said.out) == (2, ""), name
        assert what in said.err
        assert len(said.err.splitlines()) == 1
    assert file.read_text() == "print('a program')"


@pytest.mark.usefixtures("filled")
def test_what_means_nothing_is_wrong_input(tell: Tell, file: Path) -> None:
    said = tell("export", str(file), "ad")
    assert (said.code, "did you mean add" in said.err) == (2, True)
    assert not file.exists()
    assert list(file.parent.iterdir()) == [file.parent / "store"]
    said = tell("export", "-", "--json")
    assert (said.code, "standard output" in said.err) == (2, True)
    assert tell("export", str(file), "--store", " ").code == 2
    assert tell("export", str(file), "--store", "memory:").code == 2


@pytest.mark.usefixtures("filled")
def test_more_than_a_file_may_have_is_not_written(
    tell: Tell, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneonce.inspect.archive.MOST_ENTRIES", 2)
    said = tell("export", str(file))
    assert (said.code, "name a kernel, or a --world" in said.err) == (2, True)
    assert list(file.parent.iterdir()) == [file.parent / "store"]
    assert tell("export", str(file), "add").code == 0


def test_there_must_be_a_store(tell: Tell, store: FileStore, file: Path) -> None:
    said = tell("export", str(file))
    assert (said.code, "there is no store" in said.err) == (1, True)
    assert not file.exists()
    Path(store.describe().location).mkdir()
    assert "0 records of 0 kernels" in tell("export", str(file)).out


@pytest.mark.usefixtures("filled")
def test_nobody_sees_an_archive_on_a_terminal(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    said = tell("export", "-")
    assert (said.code, said.out, "name a file" in said.err) == (2, "", True)
