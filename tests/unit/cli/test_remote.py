"""What `tuneonce env` and `tuneonce doctor` say of what machines share."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.servers import redis_server
from tests.factories import make_key, put_verdict
from tuneonce.bench.ports import free_port
from tuneonce.cli import _checks, _environment, _remote
from tuneonce.cli._environment import Seams
from tuneonce.replica.courier import Delivery
from tuneonce.replica.look import Looked
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture(autouse=True)
def well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which all else is well."""
    monkeypatch.setenv("TUNEONCE", "1")
    monkeypatch.delenv("TRITON_CACHE_AUTOTUNING", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setattr(_environment, "startup_file", lambda environ: "/x/tuneonce.pth")
    found = Seams("found", version="9.9", usable=True)
    monkeypatch.setattr(_environment, "probe_seams", lambda environ: found)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TUNEONCE_REMOTE", f"file://{tmp_path}/remote")
    return f"file://{tmp_path}/remote"


def doctor(tell: Tell, *words: str) -> tuple[list[tuple[str, str]], dict[str, Any] | None]:
    """The verdicts and sentences about the remote, and what was found there."""
    said = tell("doctor", "--json", *words)
    told = [(one["verdict"], one["text"]) for one in said.json["checks"] if one["name"] == "remote"]
    assert said.code == int(any(one["verdict"] == "wrong" for one in said.json["checks"]))
    return told, said.json["remote"]


# -- env -----------------------------------------------------------------------------------------


def test_env_shows_it_without_credentials(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tell("env", "--json").json["remote"] is None
    url = "redis://user:secret@host:6379/0?namespace=prod&password=secret"
    monkeypatch.setenv("TUNEONCE_REMOTE", url)
    found = tell("env", "--json")
    assert found.json["remote"] == {
        "url": "redis://host:6379/0?namespace=prod",
        "readonly": False,
        "extra": "redis",
        "installed": True,
        "used": True,
        "why_not": "",
        "error": None,
    }
    said = tell("env")
    assert "remote redis://host:6379/0?namespace=prod (from TUNEONCE_REMOTE)" in said.words
    assert "read and written, extra `redis`" in said.words
    assert "secret" not in found.out + said.out


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"TUNEONCE_REMOTE": "s3://bucket/x?readonly=1"}, "read-only, extra `s3`"),
        ({"TUNEONCE_REMOTE": "file:///srv/x"}, "file:///srv/x (from TUNEONCE_REMOTE): read and"),
        ({"TUNEONCE_REMOTE": "http://host"}, "begins with redis://"),
        ({"TUNEONCE_STORE": "memory:"}, "not used: the store keeps nothing on disk"),
        ({"TUNEONCE_STORE": "file:///x?readonly=1"}, "not used: nothing can be pulled into"),
        ({"TUNEONCE_DETERMINISTIC": "1"}, "not used: a deterministic start asks none"),
    ],
)
def test_env_says_what_is_made_of_it(
    tell: Tell, remote: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], text: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = tell("env")
    assert said.code == 0
    assert text in said.words


def test_env_imports_no_client_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from tuneonce.cli import main; main(['env', '--no-probe'])\n"
        "assert not {'redis', 'obstore'} & set(sys.modules)"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        monkeypatch.setenv("TUNEONCE_REMOTE", f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_client_that_is_missing(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEONCE_REMOTE", "s3://bucket")
    real = importlib.util.find_spec
    missing = lambda name, *at: None if name == "obstore" else real(name, *at)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", missing)
    assert "extra `s3` is not installed" in tell("env").words
    [(verdict, text)], found = doctor(tell)
    assert (verdict, found) == ("wrong", None)
    assert "pip install 'tuneonce[s3]'" in text


# -- doctor --------------------------------------------------------------------------------------


def test_doctor_says_nothing_of_a_remote_that_is_not_set(tell: Tell) -> None:
    assert doctor(tell) == ([], None)


def test_doctor_counts_and_changes_nothing(
    tell: Tell, store: FileStore, remote: str, tmp_path: Path
) -> None:
    [(verdict, text)], _ = doctor(tell)
    assert verdict == "ok"
    assert "writable; 0 records on 0 shelves, 0 that this store lacks" in text
    assert not (tmp_path / "remote").exists()
    other = FileStore(tmp_path / "other")
    for kernel in ("add", "mul", "sub"):
        put_verdict(other, make_key(kernel), TIMES)
    assert tell("push", "--store", str(tmp_path / "other")).code == 0
    put_verdict(store, make_key("add"), {64: (0.1,), 128: (0.2,)})
    put_verdict(store, make_key("mine"), TIMES)
    before = sorted((tmp_path / "remote").rglob("*"))
    [(verdict, text)], found = doctor(tell)
    assert found is not None
    assert found["round_trip_s"] > 0
    assert (verdict, re.sub(r"in .*? ms", "in 1 ms", text)) == (
        "ok",
        f"{remote}: answers in 1 ms, writable; 3 records on 1 shelf, 2 that this store lacks, "
        "1 of which it has another one, 1 of this store that are not there",
    )
    numbers = {"shelves": 1, "records": 3, "lacks": 2, "others": 1, "beyond": 1}
    assert found.items() >= {**numbers, "writes": True, "is_whole": True, "refusal": ""}.items()
    assert sorted((tmp_path / "remote").rglob("*")) == before
    assert len(list(store.list(""))) == 2
    [(verdict, text)], _ = doctor(tell, "--store", f"{tmp_path}/other")
    assert "3 records on 1 shelf, 0 that this store lacks, 0 of this" in text
    assert "remote" in tell("doctor").out


def test_a_remote_that_is_only_read(
    tell: Tell, store: FileStore, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEONCE_REMOTE", f"{remote}?readonly=1")
    [(verdict, text)], found = doctor(tell)
    assert verdict == "ok"
    assert "read-only, as the address says" in text
    assert found is not None
    assert found["writes"] is False


@pytest.mark.parametrize(
    ("found", "note", "verdicts", "text"),
    [
        ({"writes": False, "refusal": "no key"}, "", ["wrong"], "not writable; 0 records"),
        (
            {"writes": False, "refusal": "no key", "records": 1, "shelves": 1},
            "",
            ["note"],
            "no key",
        ),
        ({"writes": None}, "", ["ok"], "the first push tells"),
        ({"writes": True}, "it does not compare", ["ok", "note"], "it does not compare"),
        ({"records": 9, "is_whole": False}, "", ["ok"], "more than 9 records on 0 shelves"),
        ({"unreadable": 2, "problems": ["a", "b"]}, "", ["ok", "wrong"], "cannot be read (a)"),
    ],
)
def test_what_is_found_has_a_verdict(
    tell: Tell,
    remote: str,
    monkeypatch: pytest.MonkeyPatch,
    found: dict[str, Any],
    note: str,
    verdicts: list[str],
    text: str,
) -> None:
    did = Looked(**{"first_s": 0.5, "round_trip_s": 0.001, **found})
    monkeypatch.setattr(_checks, "look_at", lambda environ, store: Delivery(did, remote, note))
    told, _ = doctor(tell)
    assert [verdict for verdict, _ in told] == verdicts
    assert text in " ".join(text for _, text in told)


def test_a_remote_that_no_program_uses_is_looked_at_and_noted(
    tell: Tell, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, _ = doctor(tell, "--store", "memory:")
    assert [verdict for verdict, _ in told] == ["ok", "note"]
    assert "not used: the store keeps nothing on disk" in told[1][1]


def test_addresses_that_mean_nothing(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEONCE_REMOTE", "ftp://host")
    [(verdict, text)], found = doctor(tell)
    assert (verdict, found) == ("wrong", None)
    assert "begins with redis://" in text
    monkeypatch.setenv("TUNEONCE_REMOTE", "redis://:secret@host:6379/0?no_such_option=1")
    [(verdict, text)], found = doctor(tell)
    assert (verdict, found) == ("wrong", None)
    assert "no address that redis-py takes" in text
    assert "secret" not in text


def test_nobody_waits_for_a_server_that_says_nothing(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("redis")
    monkeypatch.setattr(_remote.look_at, "__kwdefaults__", {"limit_s": 1.0})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("TUNEONCE_REMOTE", f"redis://:secret@127.0.0.1:{port}/0")
        [(verdict, text)], found = doctor(tell)
    assert (verdict, found) == ("wrong", None)
    assert f"redis://127.0.0.1:{port}/0 was not done in time" in text
    assert "secret" not in text


def test_a_server_that_is_not_there(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    port = free_port("127.0.0.1")
    monkeypatch.setenv("TUNEONCE_REMOTE", f"redis://:secret@127.0.0.1:{port}/0")
    [(verdict, text)], found = doctor(tell)
    assert (verdict, found) == ("wrong", None)
    assert f"redis://127.0.0.1:{port}/0 did not do what was asked" in text
    assert "secret" not in text


def test_a_server(tell: Tell, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_verdict(store, make_key(), TIMES)
    with redis_server() as port:
        monkeypatch.setenv("TUNEONCE_REMOTE", f"redis://127.0.0.1:{port}/0")
        assert tell("push").code == 0
        [(verdict, text)], found = doctor(tell)
    assert found is not None
    assert verdict == "ok"
    assert found["round_trip_s"] > 0
    assert "writable; 1 record on 1 shelf, 0 that this store lacks" in text
