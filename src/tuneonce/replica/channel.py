"""A courier of this process, and the lines that go to and fro.

The courier is started by a thread and belongs to nobody: it forks once and its parent ends, so the
program has no child to wait for. The channel is one socket, and what is written before the courier
is there waits in it. Nothing here waits for the courier, and nothing trusts a number: a program may
close descriptors that it did not open, and let SIGPIPE kill it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..system.claims import Claim
from ..system.descriptors import Descriptor
from ..system.interpreter import NoInterpreter, own_interpreter
from ..system.threads import start_thread
from .courier import START
from .courier_process import Order
from .wishes import Said, Wish

_MOST_LINE = 1 << 20

# Before anything else the courier leaves the child of the program that it is.
_ALONE = "import os\nif os.fork(): os._exit(0)\n"


class Ended(Exception):
    """There is no courier at the other end; the message says why, as far as that is known."""


class Channel:
    """One courier. `claim`, if any, is that of the courier from now on."""

    def __init__(
        self, order: Order, environ: Mapping[str, str], *, claim: Claim | None = None
    ) -> None:
        """Have it started. Raises OSError, and RuntimeError where there may be no more threads."""
        self._why = "the process that talks to the remote has ended"
        self._heard = b""
        here, self._theirs = socket.socketpair()
        self._end: Descriptor | None = None
        try:
            self._end = Descriptor(here.detach())
            if claim is not None:
                path, fd = claim.file
                order = msgspec.structs.replace(order, claim=path, fd=fd)
            self._end.send(msgspec.json.encode(order) + b"\n")
            start_thread(self._launch, name="tuneonce-courier", args=(dict(environ), claim))
        except BaseException:
            self.close()
            raise

    def send(self, wish: Wish) -> bool:
        """Whether it was sent: not to one that does not read. Raises Ended."""
        data = msgspec.json.encode(wish) + b"\n"
        view: socket.socket | None = None
        try:
            view = socket.socket(fileno=self._fileno())
            flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
            return view.send(data, flags) == len(data)
        except BlockingIOError:
            return False
        except OSError:
            raise Ended(self._why) from None
        finally:
            if view is not None:
                view.detach()  # so that nothing is closed when it is collected

    def poll(self, seconds: float) -> bool:
        """Whether there is something to read, now or within that time. Raises Ended."""
        something = select.poll()
        something.register(self._fileno(), select.POLLIN)
        return bool(something.poll(max(0.0, seconds) * 1000))

    def read(self) -> list[Said]:
        """What has been said since it was last asked. Raises Ended, once all was read."""
        said: list[Said] = []
        while self.poll(0.0):
            try:
                more = os.read(self._fileno(), 1 << 16)
            except OSError:
                more = b""
            *lines, self._heard = (self._heard + more).split(b"\n")
            try:
                said += [msgspec.json.decode(line, type=Said) for line in lines]
            except msgspec.MsgspecError as error:
                self._why = f"what talks to the remote cannot be understood: {error}"
                more = b""
            if not more or len(self._heard) > _MOST_LINE:
                if said:
                    return said
                raise Ended(self._why)
        return said

    def close(self) -> None:
        """The program has no more wishes. The courier ends once it has done what it was told."""
        end, self._end = self._end, None
        if end is not None:
            end.close()
        # In a forked child, whose thread does not do it.
        with contextlib.suppress(OSError):
            self._theirs.close()

    def _fileno(self) -> int:
        end = self._end
        try:
            if end is not None:
                return end.fileno()
        except OSError:
            self._why = "the program has closed what connects it with its courier"
        raise Ended(self._why)

    def _launch(self, environ: Mapping[str, str], claim: Claim | None) -> None:
        try:
            paths = [str(Path(os.fsdecode(path)).absolute()) for path in sys.path]
            process = subprocess.Popen(
                # Isolated: of the environment nothing is imported that the program has not.
                [own_interpreter(), "-I", "-c", _ALONE + START, *paths],
                stdin=self._theirs.fileno(),
                stdout=self._theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env={**environ, "TUNEONCE": "0"},
                pass_fds=() if claim is None else (claim.file[1],),
                # It outlives a Ctrl-C on the terminal, to push what is there.
                start_new_session=True,
            )
        except (OSError, ValueError, TypeError, NoInterpreter) as error:
            self._why = f"no process can be started for the remote: {error}"
            if claim is not None:
                claim.give_up()
        else:
            if claim is not None:
                claim.leave()
            process.wait()
        finally:
            with contextlib.suppress(OSError):
                self._theirs.close()
