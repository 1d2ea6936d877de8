"""`tuneonce import`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import NOON, make_key, put_verdict
from tests.fakes import files_below
from tests.faults.hostile_archives import FOREIGN, HOSTILE
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES, OTHERS = {64: (0.2,), 128: (0.1,)}, {64: (0.1,), 128: (0.2,)}


@pytest.fixture
def file(tell: Tell, store: FileStore, tmp_path: Path) -> Path:
    """An archive of three records, which `store` has, too."""
    for number in range(3):
        put_verdict(store, make_key("add", tuning={"n": number}), TIMES)
    assert tell("export", str(tmp_path / "results.tgz")).code == 0
    return tmp_path / "results.tgz"


def test_records_are_taken_into_a_store_that_is_made(
    tell: Tell, store: FileStore, file: Path, tmp_path: Path
) -> None:
    other = str(tmp_path / "other")
    said = tell("import", str(file), "--store", other, "--dry-run")
    assert "3 records new there, 0 there already; nothing was written" in said.out
    assert not Path(other).exists()
    said = tell("import", str(file), "--store", other)
    assert (said.code, said.err) == (0, "")
    assert said.out == f"import of {file} into {other}: 3 records new there, 0 there already\n"
    assert files_below(tmp_path / "other") == files_below(tmp_path / "store")
    assert "0 records new there, 3 there already" in tell("import", str(file)).out


def test_conflicts_are_shown(tell: Tell, file: Path, tmp_path: Path) -> None:
    other = FileStore(tmp_path / "other")
    put_verdict(other, make_key("add", tuning={"n": 1}), OTHERS, at=NOON + 1)
    put_verdict(other, make_key("add", tuning={"n": 2}), OTHERS, at=NOON - 1)
    words = ("import", str(file), "--store", str(tmp_path / "other"))
    document = tell(*words, "--dry-run", "--json").json
    assert (document["schema"], document["dry_run"]) == ("tuneonce.import/1", True)
    assert (document["new"], document["kept"], document["replaced"]) == (1, 1, 1)
    assert [one["key"] for one in document["winners"]] == ["n=1", "n=2"]
    assert document["broken"] is None
    said = tell(*words)
    assert f"BLOCK=64 num_warps=4 (0.1 ms) of {tmp_path}/other stays, over " in said.out
    assert f"BLOCK=128 num_warps=4 (0.1 ms) of {file} stays, over " in said.out
    assert "2 keys had several verdicts, of which the best stays; 2 with different" in said.out


def test_a_file_that_is_cut_short_gives_what_is_before(
    tell: Tell, file: Path, tmp_path: Path
) -> None:
    file.write_bytes(file.read_bytes()[:-20])
    said = tell("import", str(file), "--store", str(tmp_path / "other"))
    assert said.code == 1
    assert f"import of {file} into {tmp_path}/other: " in said.out
    assert said.err == (
        f"tuneonce: {file} cannot be used to its end: it is cut short; what came before it counts\n"
    )
    document = tell("import", str(file), "--json")
    assert (document.code, document.json["broken"]) == (1, "it is cut short")


@pytest.mark.parametrize("what", [*HOSTILE, *FOREIGN])
def test_a_hostile_file_leaves_nothing_anywhere(tell: Tell, tmp_path: Path, what: str) -> None:
    data = HOSTILE[what][0] if what in HOSTILE else FOREIGN[what]
    (tmp_path / "bad.tgz").write_bytes(data)
    other = tmp_path / "folder/other"
    other.parent.mkdir()
    said = tell("import", str(tmp_path / "bad.tgz"), "--store", str(other))
    assert said.code == 1
    assert len(said.err.splitlines()) == 1
    assert said.err.rstrip("\n").isprintable()
    assert "Traceback" not in said.err
    assert sorted(files_below(tmp_path)) == ["bad.tgz"]


def test_what_means_nothing_is_wrong_input(tell: Tell, file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for words, what in (
        (("import",), "FILE"),
        (("import", str(tmp_path / "none")), "No such file"),
        (("import", ""), "No such file"),
        (("import", "a\0b"), "null"),
        (("import", str(tmp_path)), "cannot read"),
        (("import", str(tmp_path / "pipe")), "not a regular file"),
        (("import", str(file), "--store", ""), "--store is empty"),
        (("import", str(file), "--store", "memory:"), "memory:"),
    ):
        said = tell(*words)
        assert (said.code, said.out) == (2, ""), words
        assert what in said.err
        assert len(said.err.splitlines()) == 1


def test_a_store_that_may_not_be_written_is_a_failure(
    tell: Tell, file: Path, tmp_path: Path
) -> None:
    said = tell("import", str(file), "--store", f"file://{tmp_path}/other?readonly=1")
    assert (said.code, "read-only" in said.err) == (1, True)
    # Who has all of it need not write.
    assert tell("import", str(file), "--store", f"file://{tmp_path}/store?readonly=1").code == 0


def test_nobody_types_an_archive(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    said = tell("import", "-")
    assert (said.code, "name a file" in said.err) == (2, True)
