"""The process that talks to a remote: what it does, and that it is ended where it does nothing."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import make_key, put_verdict
from tuneonce.errors import SettingsError, StoreReadOnly, StoreUnavailable
from tuneonce.replica import courier
from tuneonce.replica.courier import Delivery, send
from tuneonce.replica.exchange import Pulled, Pushed, Step
from tuneonce.store.files import FileStore

TIMES = {64: (0.2,), 128: (0.1,)}


def nobody(step: Step) -> None:
    pass


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "store")
    put_verdict(store, make_key("add"), TIMES)
    return store


@pytest.fixture
def silent() -> Iterator[tuple[int, threading.Event]]:
    """A server that takes connections and says nothing; its port, and whether somebody came."""
    came = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            came.set()
            with connection:
                while connection.recv(1000):
                    pass

        thread = threading.Thread(target=take)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_it_pushes_and_pulls_and_tells_how_far_it_is(store: FileStore, tmp_path: Path) -> None:
    remote, steps = f"file://{tmp_path}/remote", list[Step]()
    pushed = send("push", str(tmp_path / "store"), remote, tell=steps.append)
    assert pushed == Delivery(Pushed(new=1), remote, "")
    assert steps == [Step(1, 1)]
    pulled = send("pull", str(tmp_path / "other"), remote, tell=steps.append)
    assert pulled == Delivery(Pulled(new=1), remote, "")
    assert steps == [Step(1, 1), Step(1)]
    other = FileStore(tmp_path / "other")
    assert {n: other.get(n) for n in other.list("")} == {n: store.get(n) for n in store.list("")}


def test_what_goes_wrong_there_is_raised_here(store: FileStore, tmp_path: Path) -> None:
    place = str(tmp_path / "store")
    with pytest.raises(SettingsError, match="redis://"):
        send("push", place, "http://host/", tell=nobody)
    with pytest.raises(StoreReadOnly, match="readonly=1") as refused:
        send("push", place, f"file://{tmp_path}/r?readonly=1", tell=nobody)
    assert refused.value.store == f"file://{tmp_path}/r?readonly=1"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="not a directory"):
        send("pull", place, f"file://{tmp_path}/file", tell=nobody)


def test_nobody_waits_for_a_server_that_says_nothing(
    store: FileStore, silent: tuple[int, threading.Event]
) -> None:
    pytest.importorskip("redis")
    port, came = silent
    url = f"redis://:secret@127.0.0.1:{port}/0"
    place = store.describe().location
    with pytest.raises(StoreUnavailable, match="was silent for") as raised:
        send("push", place, url, tell=nobody, silent_s=1.5)
    assert came.is_set()
    assert "secret" not in str(raised.value)
    assert raised.value.store == f"redis://127.0.0.1:{port}/0"
    with pytest.raises(StoreUnavailable, match="not done in time"):
        send("push", place, url, tell=nobody, whole_s=0.2)


def courier_that(monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    monkeypatch.setattr(courier, "START", f"import os, sys\n{does}")


def test_one_that_ends_without_a_word_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    courier_that(monkeypatch, "sys.exit('no memory\\nleft here')")
    with pytest.raises(StoreUnavailable, match="ended before it was done: left here"):
        send("push", str(tmp_path), "file:///x", tell=nobody)


def test_one_that_says_too_much_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    courier_that(monkeypatch, "while True: os.write(1, bytes(65536))")
    with pytest.raises(StoreUnavailable, match="ended before it was done"):
        send("push", str(tmp_path), "file:///x", tell=nobody)


def test_it_is_gone_whatever_comes_in_between(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    courier_that(
        monkeypatch,
        f"open({str(mark)!r}, 'w').write(str(os.getpid()))\n"
        "os.write(1, b'{\"records\":1}\\n')\n"
        "sys.stdin.buffer.read()\nsys.stdin.buffer.read()\nimport time; time.sleep(60)",
    )

    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send("push", str(tmp_path), "file:///x", tell=interrupt)
    assert is_gone(int(mark.read_text()))


def test_it_finds_the_packages_of_this_process_and_no_others(
    monkeypatch: pytest.MonkeyPatch, store: FileStore, tmp_path: Path
) -> None:
    """A file in the current directory is not taken for a client's package."""
    (tmp_path / "msgspec.py").write_text("raise SystemExit('wrong msgspec')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
    place = store.describe().location
    assert send("push", place, f"file://{tmp_path}/remote", tell=nobody).did == Pushed(new=1)
