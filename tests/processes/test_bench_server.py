"""One life of a server: it starts, it is healthy, and nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.processes.bench_tell import Tell
from tuneonce.bench import process as process_module
from tuneonce.bench import procfs
from tuneonce.bench.errors import BenchError
from tuneonce.bench.interrupts import Interrupted, Interrupts
from tuneonce.bench.ports import free_port, port_in_use
from tuneonce.bench.process import Server
from tuneonce.errors import UsageError

SERVER = Path(__file__).with_name("bench_server.py")
HOST = "127.0.0.1"


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Tell]:
    tell = Tell(tmp_path / "tell")
    yield tell
    tell.close()


@pytest.fixture
def make(tmp_path: Path, tell: Tell) -> Iterator[Callable[..., Server]]:
    with Interrupts() as interrupts:

        def make(*options: str, port: int | None = None, stop_timeout: float = 30.0) -> Server:
            port = port or free_port(HOST)
            words = [sys.executable, str(SERVER), "--port", str(port), "--tell", str(tell.path)]
            return Server(
                [*words, *options],
                env=dict(os.environ),
                log=tmp_path / "log",
                host=HOST,
                port=port,
                interrupts=interrupts,
                stop_timeout=stop_timeout,
            )

        yield make


def test_a_server_lives_and_ends(make: Callable[..., Server], tell: Tell) -> None:
    port = free_port(HOST)
    with make("--unhealthy", "2", port=port) as server:
        startup = server.wait_healthy(timeout=30)
        assert startup > 0
        assert port_in_use(HOST, port)
        pid = tell.wait("start")["pid"]
        assert procfs.find(pid) is not None
        end = server.stop()
        assert end == (-signal.SIGTERM, "terminated")
        assert server.stop() is end
    assert procfs.find(pid) is None
    assert not port_in_use(HOST, port)


def test_models_stand_in_for_health(make: Callable[..., Server]) -> None:
    with make("--no-health") as server:
        server.wait_healthy(timeout=30)


def test_a_server_that_ends_at_once_shows_its_last_words(make: Callable[..., Server]) -> None:
    with (
        make("--die") as server,
        pytest.raises(BenchError, match=r"(?s)ended with status 3.*starting.*no such model"),
    ):
        server.wait_healthy(timeout=600)
    assert server.stop() == (3, "itself")


def test_a_server_that_is_never_healthy(make: Callable[..., Server], tell: Tell) -> None:
    with make("--never") as server:
        tell.wait("waiting")
        with pytest.raises(
            BenchError, match=r"(?s)not healthy after 0.01 s \(/health: no answer\).*starting"
        ):
            server.wait_healthy(timeout=0.01)
    with make("--unhealthy", "1000000") as server:
        tell.wait("listening")
        with pytest.raises(BenchError, match="/health: HTTP 503"):
            server.wait_healthy(timeout=0.01)


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    server = Server(
        [str(tmp_path / "nothing")],
        env={},
        log=tmp_path / "log",
        host=HOST,
        port=free_port(HOST),
        interrupts=Interrupts(),
    )
    with pytest.raises(UsageError, match=r"cannot start .*nothing"), server:
        pass


def test_a_port_in_use_is_somebody_elses(make: Callable[..., Server], tell: Tell) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        assert port_in_use(HOST, port)
        with pytest.raises(BenchError, match=f"port {port} .* in use"), make(port=port):
            pass
    assert tell.read() == []


def test_a_server_that_ignores_sigterm_is_killed(make: Callable[..., Server]) -> None:
    with make("--ignore-sigterm", stop_timeout=0.2) as server:
        server.wait_healthy(timeout=30)
        assert server.stop() == (-signal.SIGKILL, "killed")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("kind", ["same", "session", "orphan", "bare", "title"])
def test_grandchildren_are_ended_wherever_they_went(
    make: Callable[..., Server], tell: Tell, kind: str
) -> None:
    with make("--grandchild", kind, stop_timeout=0.2) as server:
        server.wait_healthy(timeout=30)
        child = tell.wait("grandchild")["child"]
        assert procfs.find(child) is not None
        assert server.stop().end == "killed"
        assert procfs.find(child) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_children_of_a_dead_server_are_ended(make: Callable[..., Server], tell: Tell) -> None:
    with (
        make("--grandchild", "session", "--die-after-child", stop_timeout=0.2) as server,
        pytest.raises(BenchError, match="status 4"),
    ):
        server.wait_healthy(timeout=30)
    assert procfs.find(tell.wait("grandchild")["child"]) is None


def test_a_signal_during_the_end_is_raised_after_it(
    make: Callable[..., Server], tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make()
    with pytest.raises(Interrupted), server:
        server.wait_healthy(timeout=30)
        pid = tell.wait("start")["pid"]
        original = server._ask_to_end

        def interrupted(running: subprocess.Popen[bytes]) -> bool:
            signal.raise_signal(signal.SIGINT)
            return original(running)

        monkeypatch.setattr(server, "_ask_to_end", interrupted)
    assert procfs.find(pid) is None


def test_a_second_signal_kills_at_once(make: Callable[..., Server], tell: Tell) -> None:
    with pytest.raises(Interrupted), make("--ignore-sigterm", stop_timeout=600) as server:
        server.wait_healthy(timeout=30)
        pid = tell.wait("start")["pid"]
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
    assert server.stop().end == "killed"
    assert procfs.find(pid) is None


def test_the_leader_ends_the_others_in_its_own_order(
    make: Callable[..., Server], tell: Tell
) -> None:
    with make("--grandchild", "engine", "--ends-child") as server:
        server.wait_healthy(timeout=30)
        assert server.stop() == (0, "terminated")
    told = [event["what"] for event in tell.read()]
    assert "ended in order" in told
    assert "asked" not in told


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("hurried", [False, True])
def test_all_are_asked_when_the_leader_does_not_end(
    make: Callable[..., Server], tell: Tell, monkeypatch: pytest.MonkeyPatch, hurried: bool
) -> None:
    times = {"_LEADERS_TIME": 600.0, "_HURRIED_LEADERS_TIME": 600.0}
    times["_HURRIED_LEADERS_TIME" if hurried else "_LEADERS_TIME"] = 0.0
    for name, value in times.items():
        monkeypatch.setattr(process_module, name, value)
    with make("--grandchild", "engine", "--ignore-sigterm", stop_timeout=60) as server:
        server.wait_healthy(timeout=30)
        original = server._signal

        def signalled(leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
            original(leader, number)
            if number == signal.SIGTERM:
                tell.wait("asked")
                # The leader ignores it, and nobody needs to wait for it any longer.
                server._interrupts.impatient = True

        monkeypatch.setattr(server, "_signal", signalled)
        if hurried:
            monkeypatch.setattr(Interrupts, "asked", True)
        assert server.stop() == (-signal.SIGKILL, "killed")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_the_leader_left_is_asked_as_well(
    make: Callable[..., Server], tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "_ORPHANS_TIME", 0.0)
    with make("--grandchild", "same", stop_timeout=600) as server:
        server.wait_healthy(timeout=30)
        child = tell.wait("grandchild")["child"]
        original = server._signal
        asked = []

        def signalled(leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
            asked.append((number, leader.returncode))
            original(leader, number)
            server._interrupts.impatient = True

        monkeypatch.setattr(server, "_signal", signalled)
        assert server.stop() == (-signal.SIGTERM, "killed")
    # By then the leader had ended by the SIGTERM that it got alone.
    assert asked[0] == (signal.SIGTERM, -signal.SIGTERM)
    assert procfs.find(child) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_port_that_another_server_shares(make: Callable[..., Server], tell: Tell) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:
            pass

    port = free_port(HOST)
    with make("--share-port", port=port) as server:
        pid = tell.wait("listening")["pid"]
        with HTTPServer((HOST, port), Handler, bind_and_activate=False) as other:
            other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.server_bind()
            other.server_activate()
            threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
            # Whichever of the two it was that answered.
            with pytest.raises(BenchError, match=rf"process {os.getpid()} .* port {port}"):
                server.wait_healthy(timeout=30)
            other.shutdown()
    assert procfs.find(pid) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_port_that_is_bound_and_not_yet_served(make: Callable[..., Server], tell: Tell) -> None:
    port = free_port(HOST)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((HOST, port))
        with pytest.raises(BenchError, match=f"still starting holds port {port}"), make(port=port):
            pass
    assert tell.read() == []
