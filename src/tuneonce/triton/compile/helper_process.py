"""One helper process and what connects this process with it.

It is started with a new process image (no fork of a process that holds a device) and ends with its
parent, however that ends. While it has something to do it says every second that it is alive.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...system.descriptors import Descriptor
from ...system.interpreter import NoInterpreter, own_interpreter
from .worker.compile_job import HELPER_MARK
from .worker.frames import Reader, encode

_PROGRAM = Path(__file__).with_name("worker") / "compile_helper.py"
# Arbitrary: importing Triton takes one second on a slow disk and much longer on a stuck one.
_START_S = 30.0
# Arbitrary. A helper that has something to do and sends nothing for twice this time is given up;
# twice, because a process that was stopped together with its helper finds the first one over when
# it goes on.
_SILENT_S = 20.0


class HelperLost(Exception):
    """The helper is gone or never came; nothing is known about the job."""


@dataclass
class Helper:
    """One helper process, this process's ends of what connects them, and what it owes."""

    process: subprocess.Popen[bytes]
    input: Descriptor
    output: Descriptor
    began: float
    pending: dict[int, Future[Any]] = field(default_factory=dict)
    ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    asked: float = 0.0
    reason: str = ""

    def send(self, *message: Any) -> None:
        """Raises OSError if the helper is gone, BadFrame for what is not plain data.

        Blocks while the helper does not listen: one that is silent is killed by `messages`.
        """
        data = encode(*message)
        self.asked = time.monotonic()
        try:
            self.input.send(data)
        except BaseException:  # an interrupt, too: what follows half a frame is not understood
            self.kill()
            raise

    def messages(self) -> Iterator[list[Any]]:
        """What the helper says, until it ends. Raises OSError and BadFrame."""
        reader = Reader()
        while data := self._read():
            yield from reader.feed(data)

    def _read(self) -> bytes:
        """Some of what it says, nothing when it has ended; kills it if it owes something."""
        poll = select.poll()  # which takes any number of a file, unlike select
        poll.register(self.output.fileno(), select.POLLIN)
        silent = 0
        while not poll.poll(1000 * _SILENT_S):
            owes = bool(self.pending) and self.ready.is_set()
            silent = silent + 1 if owes and time.monotonic() - self.asked > _SILENT_S else 0
            if silent > 1:
                self.reason = f"it was silent for {2 * _SILENT_S:.0f} s"
                self.kill()
        return self.output.read(1 << 16)

    def terminate(self) -> None:
        self._signal(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        """End it, with all that it has started."""
        self._signal(_kill_group, signal.SIGKILL)

    def _signal(self, send: Callable[[int, int], None], number: int) -> None:
        # Its number cannot be another process's before it was waited for, which `watch` alone does.
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


def _kill_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # it has not come to making itself a group
        os.kill(pid, number)


def start() -> Helper:
    """A new helper process, connected. Raises HelperLost."""
    interpreter = _interpreter()
    began = time.perf_counter()
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        try:
            here, there = socket.socketpair()
            theirs.callback(there.close)
            input = Descriptor(here.detach())
            ours.callback(input.close)
            end, sink = os.pipe()
            theirs.callback(os.close, sink)
            output = Descriptor(end)
            ours.callback(output.close)
            process = subprocess.Popen(
                # Isolated and without site: nothing but triton is wanted there, and quickly.
                [interpreter, "-I", "-S", str(_PROGRAM)],
                stdin=there.fileno(),
                stdout=sink,
                stderr=subprocess.DEVNULL,
                env={**os.environ, HELPER_MARK: "1"},
            )
        except (OSError, ValueError) as error:
            raise HelperLost(str(error)) from error
        ours.pop_all()
    return Helper(process, input, output, began)


def _interpreter() -> str:
    """The Python to start. Raises HelperLost where that would start the program once more."""
    if HELPER_MARK in os.environ:
        raise HelperLost("this process was started by a compile helper")
    try:
        return own_interpreter()
    except NoInterpreter as error:
        raise HelperLost(str(error)) from None
