"""Ports for servers: a free one, one that no other process has, one that no benchmark uses."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError
from . import sockets
from .errors import BenchError

_FIRST, _LAST = 20_000, 32_000
# The rendezvous of torch.distributed and its relatives, and the port of an SGLang that was given
# none: a server may bind these besides the one that it was told.
_LEFT_OUT = frozenset({*range(29_500, 29_601), 30_000})


def free_port(host: str) -> int:
    """Return a port that nothing uses now, and that no outgoing connection will be given.

    Below the ports that Linux hands out by itself: one of those may serve as the near end of any
    connection while the server is between two lives, even of our own question whether it is
    healthy, which then talks to itself and keeps the server from its port.
    """
    generator = random.SystemRandom()
    for _ in range(100):
        port = generator.randint(_FIRST, _LAST)
        if port in _LEFT_OUT or why_taken(host, port) is not None:
            continue
        with contextlib.suppress(BenchError), reserved(port):
            return port
    raise BenchError(f"found no free port between {_FIRST} and {_LAST}; choose one: --port")


def port_in_use(host: str, port: int) -> bool:
    """Whether a server answers at the port, or a socket keeps it from others."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        if probe.connect_ex((host, port)) == 0:
            return True
    # As servers bind, so that connections that linger from the server before do not count.
    return not _can_bind(host, port, reuse=True)


def why_taken(host: str, port: int) -> str | None:
    """Why a server would not have the port for itself, as a sentence's beginning; None: it would.

    A server may bind its port minutes before it listens, and let others bind it as well. Only a
    bind without SO_REUSEADDR fails because of such a server. It also fails because of connections
    of an ended server, which wait for their time to pass and do not disturb the next one.
    """
    if port_in_use(host, port):
        return f"port {port} on {host} is in use"
    if sockets.on_port(port) is None:
        return None
    for _ in range(2):
        # Twice: a connection's time may have passed between the first two of these questions.
        if _can_bind(host, port, reuse=False) or sockets.on_port(port):
            return None
    return f"another server that is still starting holds port {port} on {host}"


@contextlib.contextmanager
def reserved(port: int) -> Iterator[None]:
    """Keep other benchmarks from the port. Raises `BenchError` if one of them uses it.

    By a lock on a file in the directory for temporary files, which ends with this process.
    """
    path = Path(tempfile.gettempdir(), f"tuneonce-bench-{port}.lock")
    descriptor = _locked(path, port)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _locked(path: Path, port: int) -> int:
    while True:
        try:
            descriptor = _open(path)
        except OSError as error:
            raise BenchError(f"cannot reserve port {port}: {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The benchmark before has deleted its file with the lock held: ours may be that file.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise BenchError(
                f"another benchmark uses port {port}; wait for its end, or choose another: --port"
            ) from None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
    except PermissionError:
        # Another user's: enough may be allowed for asking whether it is locked.
        return os.open(path, os.O_RDONLY | flags)


def _can_bind(host: str, port: int, *, reuse: bool) -> bool:
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise UsageError(f"cannot use {host}:{port}: {error.strerror}") from error
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
