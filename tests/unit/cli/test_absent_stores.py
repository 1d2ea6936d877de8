"""A store that is not there, or may not be read, is an error, and not an empty list."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import make_key, process, put_verdict, resolved, write_events
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import AsNobody, Tell

READERS = (["ls"], ["ls", "add"], ["show", "add"], ["why", "add"], ["stats"], ["verify"])
WRITERS = (["rm", "--all", "--yes"], ["verify", "--set-aside"])


@pytest.mark.parametrize("words", [*READERS, *WRITERS], ids=" ".join)
def test_a_store_that_is_not_there(tell: Tell, store: FileStore, words: list[str]) -> None:
    for more in ([], ["--json"]):
        said = tell(*words, *more)
        assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1)
        assert f"there is no store at {store.describe().location}" in said.err
    assert not Path(store.describe().location).exists()


@pytest.mark.parametrize("words", [*READERS, *WRITERS], ids=" ".join)
def test_a_store_of_another_process(tell: Tell, words: list[str]) -> None:
    said = tell(*words, "--store", "memory:")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "memory:" in said.err


def test_events_that_are_not_there(tell: Tell, store: FileStore, tmp_path: Path) -> None:
    put_verdict(store, make_key(), {64: (0.2,)})
    for words in (["stats"], ["why", "add"]):
        said = tell(*words, "--events", str(tmp_path / "typo"))
        assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1)
        assert "typo" in said.err


@pytest.mark.parametrize(
    ("closed", "told"),
    [
        ("", [*READERS, *WRITERS]),
        (".events", [["stats"], ["why", "add"]]),
    ],
)
def test_a_store_that_may_not_be_read(
    tell: Tell, place: Path, as_nobody: AsNobody, closed: str, told: list[list[str]]
) -> None:
    store = FileStore(place / "store")
    os.environ["TUNEONCE_EVENTS"] = str(place / "store" / ".events")
    put_verdict(store, make_key(), {64: (0.2,)})
    write_events(place / "store" / ".events", process(resolved(make_key(), "hit")))
    for path in (place / "store").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (place / "store").chmod(0o755)
    option = ["--store", str(place / "store")]
    for words in told:  # as root, who may also read what is imported
        tell(*(word for word in words if word not in ("--all", "--set-aside")), *option)
    (place / "store" / closed).chmod(0)
    try:
        for words in told:
            with as_nobody():
                said = tell(*words, *option)
            assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1), words
            assert "read" in said.err or "listed" in said.err
            assert str(place / "store") in said.err
    finally:
        (place / "store" / closed).chmod(0o755)


def test_a_folder_that_may_not_be_read(tell: Tell, place: Path, as_nobody: AsNobody) -> None:
    """Somebody else may need it, so it is told and left where it is."""
    store = FileStore(place / "store")
    put_verdict(store, make_key(), {64: (0.2,)})
    option = ["--store", str(place / "store")]
    tell("verify", *option)  # as root, who may also read what is imported
    tell("ls", *option)
    (place / "store").chmod(0o755)
    (place / "store" / "v1").chmod(0o700)
    with as_nobody():
        verified, listed = tell("verify", *option), tell("ls", *option)
    assert verified.code == 1
    for said in (verified, listed):
        assert "no permission" in said.words + said.err
        assert "Traceback" not in said.err
