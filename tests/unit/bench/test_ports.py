from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from tuneonce.bench import ports, procfs, sockets
from tuneonce.bench.errors import BenchError
from tuneonce.bench.ports import free_port, port_in_use, reserved, why_taken

HOST = "127.0.0.1"
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def port() -> int:
    return free_port(HOST)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_free_ports_are_out_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(20_000 <= free_port(HOST) <= 32_000 for _ in range(20))
    # Of connections going out, of torch.distributed, and of an SGLang that was told no port.
    monkeypatch.setattr(ports, "_FIRST", 29_500)
    monkeypatch.setattr(ports, "_LAST", 29_601)
    monkeypatch.setattr(ports, "why_taken", lambda host, port: None)
    monkeypatch.setattr(ports.random.SystemRandom, "randint", walk(range(29_500, 29_602)))
    with pytest.raises(BenchError, match="no free port"):
        free_port(HOST)
    monkeypatch.setattr(ports.random.SystemRandom, "randint", walk([30_000, 29_600, 29_601]))
    assert free_port(HOST) == 29_601


def walk(numbers: range | list[int]) -> object:
    left = iter(numbers)
    return lambda self, first, last: next(left)


def test_a_served_port_is_in_use(port: int) -> None:
    assert why_taken(HOST, port) is None
    with socket.create_server((HOST, port)):
        assert port_in_use(HOST, port)
        assert why_taken(HOST, port) == f"port {port} on {HOST} is in use"
    assert why_taken(HOST, port) is None


@linux
@pytest.mark.parametrize("options", [[socket.SO_REUSEADDR], [15, socket.SO_REUSEADDR]])
@pytest.mark.parametrize("address", [HOST, "0.0.0.0"])
def test_a_port_that_is_only_bound_is_held(port: int, address: str, options: list[int]) -> None:
    with socket.socket() as other:
        for option in options:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind((address, port))
        # Why this has a question of its own: the usual two do not meet it.
        assert not port_in_use(HOST, port)
        assert why_taken(HOST, port) == (
            f"another server that is still starting holds port {port} on {HOST}"
        )
    assert why_taken(HOST, port) is None


@linux
def test_connections_of_an_ended_server_hold_nothing(port: int) -> None:
    with (
        socket.create_server((HOST, port)) as server,
        socket.create_connection((HOST, port)) as client,
    ):
        accepted, _ = server.accept()
        # Who ends first has to wait.
        accepted.close()
        assert client.recv(1) == b""
    waiting = sockets.on_port(port)
    assert waiting
    assert not any(one.status == psutil.CONN_LISTEN for one in waiting)
    assert why_taken(HOST, port) is None


def test_where_nobody_tells_sockets(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(kind: str) -> list[object]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    assert sockets.on_port(port) is None
    assert sockets.listeners(HOST, port) == set()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((HOST, port))
        assert why_taken(HOST, port) is None


@linux
def test_who_listens(port: int) -> None:
    ours = {os.getpid()}
    with socket.create_server((HOST, port)) as server:
        assert sockets.listeners(HOST, port) == ours
        assert sockets.listeners("localhost", port) == ours
        assert sockets.listeners("127.0.0.2", port) == set()
        assert sockets.listeners("::1", port) == set()
        with subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, pass_fds=[server.fileno()]
        ) as inheritor:
            assert sockets.listeners(HOST, port) == {*ours, inheritor.pid}
            inheritor.kill()
    assert sockets.listeners(HOST, port) == set()


@linux
def test_who_listens_at_every_address(port: int) -> None:
    with socket.create_server(("0.0.0.0", port)):
        assert sockets.listeners(HOST, port) == {os.getpid()}
        assert sockets.listeners("::1", port) == set()


def test_a_listener_of_another_user(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = psutil.net_connections

    def without_processes(kind: str) -> list[object]:
        return [one._replace(pid=None) for one in told(kind)]

    with socket.create_server((HOST, port)):
        monkeypatch.setattr(psutil, "net_connections", without_processes)
        monkeypatch.setattr(procfs, "living", list)
        assert sockets.listeners(HOST, port) == {None}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "::"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_addresses_that_stand_for_others(text: str, address: str) -> None:
    assert sockets._address(text) == ip_address(address)


def test_a_port_is_reserved_once(temporary: Path) -> None:
    with reserved(1234):
        with pytest.raises(BenchError, match="another benchmark uses port 1234"), reserved(1234):
            pass
        with reserved(1235):
            pass
    assert list(temporary.iterdir()) == []
    with reserved(1234):
        pass


def test_what_a_killed_benchmark_left_is_no_obstacle(temporary: Path) -> None:
    (temporary / "tuneonce-bench-1234.lock").touch()
    with reserved(1234):
        pass
    assert list(temporary.iterdir()) == []


def test_a_lock_on_a_deleted_file_is_none(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = temporary / "tuneonce-bench-1234.lock"
    original, opened = ports._open, []

    def deleted_meanwhile(path: Path) -> int:
        descriptor = original(path)
        opened.append(descriptor)
        if len(opened) == 1:
            path.unlink()
        elif len(opened) == 2:
            path.unlink()
            path.touch()
        return descriptor

    monkeypatch.setattr(ports, "_open", deleted_meanwhile)
    with reserved(1234):
        assert len(opened) == 3
        assert path.exists()


def test_a_place_that_cannot_hold_locks(temporary: Path) -> None:
    (temporary / "tuneonce-bench-1234.lock").symlink_to("elsewhere")
    with pytest.raises(BenchError, match="cannot reserve port 1234"), reserved(1234):
        pass


def test_a_reserved_port_is_not_free(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setattr(ports, "why_taken", lambda host, port: None)
    monkeypatch.setattr(ports.random.SystemRandom, "randint", walk([port, port, 28_765]))
    with reserved(port):
        assert free_port(HOST) == 28_765
