"""One life of a server: started as a child, healthy, ended with everything that it started."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import random
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

from ..errors import TuneonceError, UsageError
from . import procfs
from .interrupts import Interrupts

MARK = "TUNEONCE_BENCH_SERVER"

# A request for health is cheap, and the interval is the error of the start-up time.
_HEALTH_INTERVAL = 0.05
_HEALTH_REQUEST_TIMEOUT = 5.0
# How long the kernel may take to remove a process after SIGKILL (GPU memory is freed in there).
_KILL_TIMEOUT = 30.0
_POLL_INTERVAL = 0.02
_LOG_LINES = 25
_HAS_PROC = Path("/proc/self/stat").exists()


class BenchError(TuneonceError):
    """The server under test did not start, or could not be ended; says what to look at."""


class ServerEnd(NamedTuple):
    """How a server ended: its exit status (negative: by that signal), and whose doing it was."""

    status: int | None
    end: Literal["terminated", "killed", "itself"]


def free_port(host: str) -> int:
    """Return a port that nothing uses now, and that no outgoing connection will be given.

    Below the ports that Linux hands out by itself: one of those may serve as the near end of any
    connection while the server is between two lives, even of our own question whether it is
    healthy, which then talks to itself and keeps the server from its port.
    """
    generator = random.SystemRandom()
    for _ in range(100):
        port = generator.randint(20_000, 32_000)
        if not port_in_use(host, port):
            return port
    raise BenchError("found no free port between 20000 and 32000; choose one: --port")


def port_in_use(host: str, port: int) -> bool:
    """Whether somebody answers at the port or keeps it for himself."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        if probe.connect_ex((host, port)) == 0:
            return True
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        # As servers do, so that connections that linger from the server before do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise UsageError(f"cannot use {host}:{port}: {error.strerror}") from error
    return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class Server:
    """A server command as a context manager: entered it runs, left nothing of it remains.

    It leads a session of its own, and its environment carries a mark, so that children which start
    sessions of their own are found as well (on Linux). Its output goes to `log`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        host: str,
        port: int,
        interrupts: Interrupts,
        stop_timeout: float = 60.0,
    ) -> None:
        self._command = list(command)
        token = secrets.token_hex(8)
        self._mark = f"{MARK}={token}"
        self._env = {**env, MARK: token}
        self._log = log
        self._host = host
        self._port = port
        self._interrupts = interrupts
        self._stop_timeout = stop_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._known: set[procfs.Process] = set()
        self._end: ServerEnd | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the command.

        Raises `BenchError` if its port is taken: the load would measure somebody else's server.
        Raises `UsageError` if there is no such command.
        """
        if port_in_use(self._host, self._port):
            raise BenchError(
                f"port {self._port} on {self._host} is in use; stop the server that holds it, "
                "or choose another: --port"
            )
        with self._log.open("ab") as log, self._interrupts.deferred():
            self._began = time.monotonic()
            try:
                self._process = subprocess.Popen(
                    self._command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise UsageError(
                    f"cannot start {self._command[0]!r}: {error.strerror or error}"
                ) from error

    def wait_healthy(self, *, timeout: float) -> float:
        """Wait until the server answers and return the seconds since its start.

        Healthy is 200 from ``/health``, or from ``/v1/models`` where there is no ``/health``.
        Raises `BenchError` with the last lines of the log when the server ends instead (at once),
        or is not healthy in time.
        """
        process = self._running()
        paths = ["/health", "/v1/models"]
        while True:
            status = self._get(paths[0])
            healthy = time.monotonic() - self._began
            if process.poll() is not None:
                raise BenchError(self._failure(f"ended with status {process.returncode}"))
            if status == 200:
                self._known |= procfs.members(leader=process.pid, mark=self._mark)
                return healthy
            if status in (404, 405, 501) and len(paths) > 1:
                del paths[0]
                continue
            if healthy > timeout:
                last = "no answer" if status is None else f"HTTP {status}"
                raise BenchError(
                    self._failure(f"was not healthy after {timeout:g} s ({paths[0]}: {last})")
                )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_HEALTH_INTERVAL)

    def stop(self) -> ServerEnd:
        """End the server and everything that it started; say how it ended. Twice is once.

        All get SIGTERM, and after `stop_timeout` (or a second Ctrl-C) SIGKILL. Raises `BenchError`
        if processes survive even that, or if the port is still served afterwards.
        """
        if self._end is not None or self._process is None:
            return self._end or ServerEnd(None, "itself")
        with self._interrupts.deferred():
            self._end = self._stop(self._process)
            return self._end

    def _stop(self, process: subprocess.Popen[bytes]) -> ServerEnd:
        by_itself = process.poll() is not None
        self._signal(process, signal.SIGTERM)
        polite = self._wait_gone(
            process, timeout=self._stop_timeout, hurry=lambda: self._interrupts.impatient
        )
        if not polite:
            self._signal(process, signal.SIGKILL)
            if not self._wait_gone(process, timeout=_KILL_TIMEOUT, kill=True):
                pids = ", ".join(str(p.pid) for p in sorted(self._living(process)))
                raise BenchError(f"processes of the server survive SIGKILL: {pids or process.pid}")
        if port_in_use(self._host, self._port):
            raise BenchError(
                f"the server has ended, but something still holds port {self._port}; "
                "the next run would measure that"
            )
        if by_itself:
            return ServerEnd(process.returncode, "itself")
        return ServerEnd(process.returncode, "terminated" if polite else "killed")

    def log_tail(self) -> str:
        """The last lines that the server wrote."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-_LOG_LINES:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process

    def _failure(self, what: str) -> str:
        tail = self.log_tail()
        return f"the server {what}; " + (
            f"its last lines were:\n{tail}" if tail else "it wrote nothing"
        )

    def _get(self, path: str) -> int | None:
        connection = http.client.HTTPConnection(
            self._host, self._port, timeout=_HEALTH_REQUEST_TIMEOUT
        )
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _living(self, process: subprocess.Popen[bytes]) -> set[procfs.Process]:
        self._known |= procfs.members(leader=process.pid, mark=self._mark)
        self._known = {member for member in self._known if procfs.alive(member)}
        return self._known

    def _signal(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        living = self._living(process)
        # Before the leader is reaped its number cannot be anybody else's group; afterwards it is
        # the server's only while members are seen in it (where they cannot be seen: as good as).
        ours = process.returncode is None or any(m.group == process.pid for m in living)
        if ours or not _HAS_PROC:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        for member in living:
            if member.group != process.pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(member.pid, number)

    def _wait_gone(
        self,
        process: subprocess.Popen[bytes],
        *,
        timeout: float,
        hurry: Callable[[], bool] = lambda: False,
        kill: bool = False,
    ) -> bool:
        deadline = time.monotonic() + timeout
        while True:
            reaped = process.poll() is not None
            # Asking about those known is cheap; the search through all processes comes last.
            if reaped and not any(procfs.alive(p) for p in self._known):
                if not self._living(process) and not self._group_exists(process):
                    return True
                # Born while we looked.
                self._signal(process, signal.SIGKILL if kill else signal.SIGTERM)
            if time.monotonic() > deadline or hurry():
                return False
            time.sleep(_POLL_INTERVAL)

    def _group_exists(self, process: subprocess.Popen[bytes]) -> bool:
        if _HAS_PROC:
            # Dead members that nobody reaps would keep the group in existence for ever.
            return False
        try:
            os.killpg(process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True
