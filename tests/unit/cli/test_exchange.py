"""`tuneonce push` and `tuneonce pull`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import leave_in_journal, make_key, put_damaged, put_verdict, put_wanted
from tests.fakes import journal_folder
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TUNEONCE_REMOTE", f"file://{tmp_path}/remote")
    return f"file://{tmp_path}/remote"


def test_one_store_pushes_and_another_pulls(
    tell: Tell, store: FileStore, remote: str, tmp_path: Path
) -> None:
    put_verdict(store, make_key("add"), TIMES)
    put_verdict(store, make_key("mul"), TIMES)
    put_wanted(store, make_key("add"), 64)
    leave_in_journal(journal_folder(store), make_key("add"), 256, 0.3)
    said = tell("push")
    assert said.code == 0
    assert (
        f"push from {tmp_path}/store to {remote}: 2 records new there, 0 there already" in said.out
    )
    other = str(tmp_path / "other")
    said = tell("pull", "--store", other)
    assert f"pull from {remote} to {other}: 2 records new here, 0 here already" in said.out
    assert tell("ls", "--store", other).out.count("\n") >= 3
    assert tell("pull", "--store", other, "--json").json == {
        "schema": "tuneonce.pull/1",
        "store": other,
        "remote": remote,
        "note": "",
        "new": 0,
        "adopted": 0,
        "known": 2,
        "kept": 0,
        "unusable": 0,
        "problems": [],
    }


def test_what_is_out_of_the_ordinary_is_said(
    tell: Tell, store: FileStore, remote: str, tmp_path: Path
) -> None:
    put_damaged(store, tmp_path / "store")
    put_verdict(store, make_key("add"), TIMES)
    said = tell("push")
    assert said.code == 0
    assert "2 records new there, 0 there already, 3 not pushed" in said.out
    assert said.out.count("problem: v1/bad") == 3
    put_verdict(store, make_key("add"), {64: (0.1,), 128: (0.2,)})
    assert "1 of which another one is there, which stays" in tell("push").out
    assert "1 in the place of one of ours" in tell("pull").out
    put_verdict(store, make_key("add"), {64: (0.1,), 128: (0.2,)}, origin="rechecked")
    assert "1 of which ours stays" in tell("pull").out
    assert "1 in the place of one that was wrong" in tell("push").out


@pytest.mark.parametrize("do", ["push", "pull"])
def test_what_means_nothing_is_wrong_input(tell: Tell, store: FileStore, do: str) -> None:
    put_verdict(store, make_key("add"), TIMES)
    for words, what in (
        ((do,), "TUNEONCE_REMOTE"),
        ((do, "--remote", " "), "TUNEONCE_REMOTE"),
        ((do, "--remote", "http://host"), "redis://"),
        ((do, "--remote", "file:///srv", "--store", ""), "--store is empty"),
        ((do, "--remote", "file:///srv", "--store", "memory:"), "memory:"),
        ((do, "--remote", "file:///srv", "--timeout", "soon"), "number of seconds"),
    ):
        said = tell(*words)
        assert (said.code, said.out) == (2, "")
        assert what in said.err
        assert len(said.err.splitlines()) == 1


def test_a_store_that_is_not_there_is_pulled_into_and_not_pushed(
    tell: Tell, remote: str, tmp_path: Path
) -> None:
    said = tell("push")
    assert said.code == 1
    assert "there is no store" in said.err
    assert tell("pull").code == 0
    assert not (tmp_path / "remote").exists()


def test_a_remote_that_may_not_be_written_is_a_failure(
    tell: Tell, store: FileStore, remote: str
) -> None:
    put_verdict(store, make_key("add"), TIMES)
    said = tell("push", "--remote", f"{remote}?readonly=1")
    assert said.code == 1
    assert "read-only" in said.err


def test_a_remote_that_is_not_done_in_time_is_a_failure(
    tell: Tell, store: FileStore, remote: str
) -> None:
    put_verdict(store, make_key("add"), TIMES)
    said = tell("push", "--timeout", "0.001")
    assert said.code == 1
    assert "not done in time" in said.err


def test_how_far_it_is_is_a_line_that_goes_away(
    tell: Tell, store: FileStore, remote: str, terminal: None
) -> None:
    put_verdict(store, make_key("add"), TIMES)
    said = tell("push")
    assert (said.code, "1 record new there" in said.words) == (0, True)
