"""One life of a server: started as a child, healthy, ended with everything that it started."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from ..errors import UsageError
from . import procfs, sockets
from .errors import BenchError
from .interrupts import Interrupts
from .ports import why_taken

MARK = "TUNEONCE_BENCH_SERVER"

# A request for health is cheap, and the interval is the error of the start-up time.
_HEALTH_INTERVAL = 0.05
_HEALTH_REQUEST_TIMEOUT = 5.0
# How often the server's processes are looked for while it starts. One that has hidden its
# environment is found as long as its parent lives; from then on it is known.
_LOOK_INTERVAL = 1.0
# How long the leader may take to end the rest: most servers end their processes in an order of
# their own. And how long what the leader left behind may take to end by itself. Both are arbitrary.
_LEADERS_TIME = 15.0
_ORPHANS_TIME = 2.0
# The same after a Ctrl-C, when a person waits, and what is left of the time before SIGKILL.
_HURRIED_LEADERS_TIME = 3.0
_HURRIED_STOP_TIMEOUT = 15.0
# So long a port may stay in use: a process is seen as gone a moment before its sockets are closed.
_PORT_TIME = 2.0
# How long the kernel may take to remove a process after SIGKILL (GPU memory is freed in there).
_KILL_TIMEOUT = 30.0
_POLL_INTERVAL = 0.02
_LOG_LINES = 25


class ServerEnd(NamedTuple):
    """How a server ended: its exit status (negative: by that signal), and what ended it."""

    status: int | None
    end: Literal["terminated", "killed", "itself"]


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
        self._known: set[psutil.Process] = set()
        self._end: ServerEnd | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the command.

        Raises `BenchError` if its port is taken: the load would measure another server.
        Raises `UsageError` if there is no such command.
        """
        if taken := why_taken(self._host, self._port):
            raise BenchError(f"{taken}; stop the server that has it, or choose another: --port")
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
        or is not healthy in time, and if another process listens at its port as well.
        """
        process = self._running()
        paths = ["/health", "/v1/models"]
        looked = self._began
        while True:
            status = self._get(paths[0])
            healthy = time.monotonic() - self._began
            if process.poll() is not None:
                raise BenchError(self._failure(f"ended with status {process.returncode}"))
            if status == 200:
                self._check_port_is_ours(process)
                return healthy
            if time.monotonic() > looked + _LOOK_INTERVAL:
                self._living(process)
                looked = time.monotonic()
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

        SIGTERM goes to the process that was started, a while later to all that are left, and after
        `stop_timeout` they get SIGKILL; a first Ctrl-C makes that shorter, a second one immediate.
        Raises `BenchError` if processes survive even that, or if the port is not free afterwards.
        """
        if self._end is not None or self._process is None:
            return self._end or ServerEnd(None, "itself")
        with self._interrupts.deferred():
            self._end = self._stop(self._process)
            return self._end

    def linger(self, *, seconds: float) -> None:
        """Let a failing server be seen ended by itself: its sockets close before it is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running().wait(timeout=seconds)

    def _stop(self, process: subprocess.Popen[bytes]) -> ServerEnd:
        by_itself = process.poll() is not None
        polite = self._ask_to_end(process)
        if not polite:
            self._kill(process)
        self._check_port_is_free()
        if by_itself:
            return ServerEnd(process.returncode, "itself")
        return ServerEnd(process.returncode, "terminated" if polite else "killed")

    def _ask_to_end(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether all have ended within the time that they had."""
        began = time.monotonic()
        orphaned: float | None = None
        asked: set[psutil.Process] | None = None
        # While the leader lives, its children are known by it.
        self._living(process)
        if process.returncode is None:
            process.terminate()
        while not self._gone(process):
            now = time.monotonic()
            limit, leaders_time = self._stop_timeout, _LEADERS_TIME
            if self._interrupts.asked:
                limit, leaders_time = min(limit, _HURRIED_STOP_TIMEOUT), _HURRIED_LEADERS_TIME
            if self._interrupts.impatient or now > began + limit:
                return False
            ask_all = began + min(leaders_time, limit / 2)
            if process.returncode is not None:
                orphaned = orphaned or now
                ask_all = min(ask_all, orphaned + _ORPHANS_TIME)
            # Those that were born while we looked are asked as well.
            if now > ask_all and (asked is None or self._known - asked):
                self._signal(process, signal.SIGTERM)
                asked = set(self._known)
            time.sleep(_POLL_INTERVAL)
        return True

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _KILL_TIMEOUT
        killed: set[psutil.Process] | None = None
        while not self._gone(process):
            if time.monotonic() > deadline:
                pids = ", ".join(map(str, sorted(p.pid for p in self._living(process))))
                raise BenchError(f"processes of the server survive SIGKILL: {pids or process.pid}")
            if killed is None or self._known - killed:
                self._signal(process, signal.SIGKILL)
                killed = set(self._known)
            time.sleep(_POLL_INTERVAL)

    def _check_port_is_free(self) -> None:
        deadline = time.monotonic() + _PORT_TIME
        while taken := why_taken(self._host, self._port):
            if time.monotonic() > deadline:
                raise BenchError(
                    f"the server has ended, but {taken}; the next run would measure that"
                )
            time.sleep(_POLL_INTERVAL)

    def _check_port_is_ours(self, process: subprocess.Popen[bytes]) -> None:
        """Raise `BenchError` if another server may have answered, or may answer the load."""
        listening = sockets.listeners(self._host, self._port)
        ours = {member.pid for member in self._living(process)}
        for pid in listening - ours:
            if pid is None:
                # Asked again: its process may have ended between two looks of the first question.
                if None not in sockets.listeners(self._host, self._port):
                    continue
                listener = "a process of somebody else"
            elif (stranger := procfs.find(pid)) is not None:
                listener = f"process {pid} ({procfs.name(stranger)})"
            else:
                continue
            raise BenchError(
                f"{listener} listens at port {self._port} too and is no part of the server under "
                "test, which may not have answered; stop it, or choose another port: --port"
            )

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

    def _living(self, process: subprocess.Popen[bytes]) -> set[psutil.Process]:
        self._known = procfs.members(leader=process.pid, mark=self._mark, known=self._known)
        return self._known

    def _signal(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        living = self._living(process)
        inside = {member for member in living if procfs.in_group(member, process.pid)}
        # Until the leader is reaped no other group can have its number; afterwards the group is the
        # server's only while members are seen in it.
        if process.returncode is None or inside:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        for member in living - inside:
            with contextlib.suppress(psutil.Error):
                member.send_signal(number)

    def _gone(self, process: subprocess.Popen[bytes]) -> bool:
        # The known processes are asked first, which is cheap; the search of all comes last.
        return (
            process.poll() is not None
            and not any(procfs.alive(member) for member in self._known)
            and not self._living(process)
        )
