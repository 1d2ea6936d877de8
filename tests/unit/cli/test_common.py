"""Options that commands share, and what they say of a store or of a kernel that is not there.

A store that is not there, or may not be read, is an error, and not an empty list.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import NOON, make_key, process, put_verdict, resolved, write_events
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import AsNobody, Tell

TIMES = {64: (0.2,), 128: (0.1,)}
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


@pytest.mark.parametrize("command", ["ls", "show", "rm"])
def test_an_unknown_kernel(tell: Tell, store: FileStore, command: str) -> None:
    put_verdict(store, make_key("chunk_fwd_kernel"), TIMES)
    said = tell(command, "chunk_fwd_kernl", "--json")
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert "'chunk_fwd_kernl'" in said.err
    assert "did you mean chunk_fwd_kernel?" in said.err


def test_store_option_and_variable(tell: Tell, store: FileStore, tmp_path: Path) -> None:
    other = FileStore(tmp_path / "other")
    put_verdict(other, make_key("mul"), TIMES)
    put_verdict(store, make_key("add"), TIMES)
    for address in (str(tmp_path / "other"), f"file://{tmp_path}/other?readonly=1"):
        document = tell("ls", "--json", "--store", address).json
        assert [entry["kernel"] for entry in document["entries"]] == ["kernels:mul"]
    assert tell("ls", "--json").json["entries"][0]["kernel"] == "kernels:add"
    os.environ["TUNEONCE"] = "perhaps"  # says whether a process takes part, not where
    assert tell("ls").code == 0


@pytest.mark.parametrize("address", ["ftp://host/x", "memory://x", "", "file://host/x"])
def test_a_wrong_address(tell: Tell, address: str) -> None:
    said = tell("ls", "--json", "--store", address)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1


def test_a_store_that_does_not_work(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = tell("ls", "--store", str(tmp_path / "file"))
    assert (said.code, len(said.err.splitlines())) == (1, 1)


@pytest.mark.parametrize("words", [["stats"], ["why", "add"]])
def test_events_from_elsewhere(tell: Tell, tmp_path: Path, words: list[str]) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "store").mkdir()
    write_events(elsewhere, process(resolved(make_key(), "miss")))
    assert str(elsewhere) == tell(*words, "--events", str(elsewhere), "--json").json["events"]
    os.environ["TUNEONCE_EVENTS"] = str(elsewhere)
    assert str(elsewhere) == tell(*words, "--json").json["events"]
    os.environ["TUNEONCE_EVENTS"] = "0"
    said = tell(*words, "--json")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "--events" in said.err


@pytest.mark.parametrize("last", ["0", "-1", "many", "²"])
def test_last_is_a_number_of_processes(tell: Tell, last: str) -> None:
    assert tell("stats", f"--last={last}").code == 2


def test_since(tell: Tell, events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOON + 7200)
    miss = resolved(make_key(), "miss", t=10.0)
    write_events(
        events,
        *[process(miss, started=NOON + n * 600, pid=n + 1) for n in range(12)],
        # It has run for long, and told something only just now.
        process(miss, resolved(make_key("mul"), "hit", t=7190.0), started=NOON, pid=99),
    )

    def pids(*words: str) -> list[int]:
        return [one["pid"] for one in tell("stats", "--json", *words).json["processes"]]

    assert len(pids()) == 10
    assert pids("--since", "1h") == [7, 8, 9, 10, 11, 12, 99]
    assert pids("--since", "60min", "--last", "2") == [12, 99]
    assert pids("--since", "2023-11-14T23:13:30Z") == [7, 8, 9, 10, 11, 12, 99]
    assert pids("--since", "2023-11-14T23:13:30") == [7, 8, 9, 10, 11, 12, 99]  # here: UTC
    assert pids("--since", "2023-11-15T01:13:30+02:00") == [7, 8, 9, 10, 11, 12, 99]
    assert len(pids("--since", "2023-11-14")) == 13
    assert len(pids("--since", "999999999w")) == 13
    assert pids("--since", "0s") == []
    assert "No process has left events since then" in tell("stats", "--since", "0s").out
    assert tell("why", "add", "--since", "1h", "--json").json["processes"] == 7
    (missed,) = tell("why", "add", "--since", "1h", "--json").json["misses"]
    assert missed["processes"] == 7


@pytest.mark.parametrize(
    "when", ["", "2", "h", "2 weeks", "-2h", "1e3h", "yesterday", "2999-01-01", "²h"]
)
def test_since_is_a_time_that_was(tell: Tell, events: Path, when: str) -> None:
    events.mkdir(parents=True)
    said = tell("stats", f"--since={when}")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)


# -- a base under the store ----------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> FileStore:
    """What lies under `store`, with one verdict."""
    os.environ["TUNEONCE_BASE"] = str(tmp_path / "base")
    made = FileStore(tmp_path / "base")
    put_verdict(made, make_key(), TIMES)
    return made


@pytest.mark.parametrize("words", READERS[:3] + READERS[-1:], ids=" ".join)
def test_what_a_base_has_is_shown(
    tell: Tell, store: FileStore, base: FileStore, events: Path, words: list[str]
) -> None:
    write_events(events, process(resolved(make_key(), "hit")))
    said = tell(*words)
    assert (said.code, said.err) == (0, "")
    assert "BLOCK=128" in said.out or "1 verdict," in said.out
    assert not Path(store.describe().location).exists()


def test_ls_says_what_is_of_the_base(tell: Tell, store: FileStore, base: FileStore) -> None:
    put_verdict(store, make_key("mul"), TIMES)
    said = tell("ls")
    rows = [line for line in said.out.splitlines() if "BLOCK=128" in line]
    assert ["base" in row for row in rows] == [True, False]
    assert f"2 verdicts in {store.describe().location} over the base " in said.words
    entries = tell("ls", "--json").json["entries"]
    assert [entry["base"] for entry in entries] == [True, False]
    assert tell("ls", "--json").json["base"] == base.describe().location
    # A store that is named is looked at alone.
    alone = tell("ls", "--json", "--store", store.describe().location).json
    assert (len(alone["entries"]), alone["base"]) == (1, "")
    # What is in both is the store's.
    put_verdict(store, make_key(), TIMES)
    assert not any(entry["base"] for entry in tell("ls", "--json").json["entries"])


def test_nothing_of_a_base_is_removed_or_moved(
    tell: Tell, store: FileStore, base: FileStore
) -> None:
    mine = put_verdict(store, make_key("mul"), TIMES)
    (name,) = base.list("v1/")
    base.put(name, b"{")
    said = tell("verify", "--set-aside")
    assert (said.code, "left in place: v1/" in said.out) == (1, True)
    assert tell("rm", "--all", "--yes").code == 0
    assert store.get(mine) is None
    assert base.get(name) == b"{"


def test_a_base_that_cannot_be_used(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    os.environ["TUNEONCE_BASE"] = "/dev/null"
    said = tell("ls")
    assert (said.code, len(said.err.splitlines())) == (0, 1)
    assert "the base is left out: /dev/null cannot be listed" in said.err
    assert "1 verdict" in said.out
    os.environ["TUNEONCE_BASE"] = "redis://me:secret@host/0"
    said = tell("ls")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "secret" not in said.err
