"""One helper process and what connects this process with it.

It is started with a new process image (no fork of a process that holds a device) and ends with its
parent, however that ends. While it has something to do it says every second that it is alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("compile_helper.py")
# Arbitrary: importing Triton takes one second on a slow disk and much longer on a stuck one.
_START_S = 30.0
# Arbitrary: twice this without a word, and a helper that has something to do is given up. Twice,
# since who was stopped together with it finds the first time over at once.
_SILENT_S = 20.0


class HelperLost(Exception):
    """The helper is gone or never came; nothing is known about the job."""


@dataclass
class Helper:
    """One helper process, this process's ends of what connects them, and what it owes."""

    process: subprocess.Popen[bytes]
    input: socket.socket
    output: int
    began: float
    pending: dict[int, Future[Any]] = field(default_factory=dict)
    on_alike: dict[int, Callable[[bool], None]] = field(default_factory=dict)
    ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    asked: float = 0.0
    reason: str = ""

    def send(self, *message: Any) -> None:
        """Raises OSError if the helper is gone. Blocks while it does not listen."""
        self.asked = time.monotonic()
        data = pickle.dumps(message)
        data = struct.pack("<Q", len(data)) + data
        try:
            # Some programs let SIGPIPE kill them.
            self.input.sendall(data, socket.MSG_NOSIGNAL)
        except BaseException:  # an interrupt, too: what follows half a frame is not understood
            self.kill()
            raise

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """What the helper says, until it ends."""
        buffer = b""
        while data := self._read():
            buffer += data
            while len(buffer) >= 8 and len(buffer) >= 8 + (size := _size(buffer)):
                message, buffer = buffer[8 : 8 + size], buffer[8 + size :]
                yield pickle.loads(message)

    def _read(self) -> bytes:
        """Some of what it says, nothing when it has ended; kills it if it owes something."""
        poll = select.poll()  # which takes any number of a file, unlike select
        poll.register(self.output, select.POLLIN)
        silent = 0
        while not poll.poll(1000 * _SILENT_S):
            owes = bool(self.pending) and self.ready.is_set()
            silent = silent + 1 if owes and time.monotonic() - self.asked > _SILENT_S else 0
            if silent > 1:
                self.reason = f"it was silent for {2 * _SILENT_S:.0f} s"
                self.kill()
        return os.read(self.output, 1 << 16)

    def terminate(self) -> None:
        self._signal(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        """End it, with all that it has started."""
        self._signal(os.killpg, signal.SIGKILL)

    def _signal(self, send: Callable[[int, int], None], number: int) -> None:
        # Its number is nobody else's before it was waited for, which `watch` alone does.
        if not self.ended.is_set():
            with contextlib.suppress(OSError):
                send(self.process.pid, number)

    def watch(self) -> None:
        """End it if it does not come up; when it has ended, end what it left, then forget it."""
        if not self.ready.wait(_START_S):
            self.reason = f"it was not ready after {_START_S:.0f} s"
            self.kill()
        with contextlib.suppress(OSError):  # the program may reap all children by itself
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        self.ended.set()
        self.process.wait()


def start() -> Helper:
    """A new helper process, connected. Raises HelperLost."""
    if not sys.executable:
        raise HelperLost("this interpreter does not know its own path")
    began = time.perf_counter()
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        try:
            here, there = socket.socketpair()
            theirs.callback(there.close)
            here = socket.socket(fileno=_above_streams(here.detach()))
            ours.callback(here.close)
            output, sink = os.pipe()
            theirs.callback(os.close, sink)
            output = _above_streams(output)
            ours.callback(os.close, output)
            process = subprocess.Popen(
                # Isolated and without site: nothing but triton is wanted there, and quickly.
                [sys.executable, "-I", "-S", str(_PROGRAM)],
                stdin=there.fileno(),
                stdout=sink,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise HelperLost(str(error)) from error
        ours.pop_all()
    return Helper(process, here, output, began)


def _above_streams(fd: int) -> int:
    """Not 0, 1 or 2, where a program that has closed its streams may write to."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def _size(buffer: bytes) -> int:
    size: int = struct.unpack("<Q", buffer[:8])[0]
    return size
