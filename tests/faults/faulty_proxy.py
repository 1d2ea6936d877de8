"""A TCP server between a client and a real server, or none, that does what networks do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

FAULTS = (
    "slow",  # each answer comes two seconds late
    "hang",  # connections are taken, and nothing is ever said
    "trickle",  # an answer comes at one byte in half a second
    "garbage",  # another kind of server answers
    "reset",  # connections are reset once something was asked
    "refused",  # nobody listens
    "black hole",  # nothing answers, not even the system that is asked to connect
    "dies",  # it answers as long as a pull takes, and then nothing any more
)

_LATE_S, _DRIP_S = 2.0, 0.5
# What a client has sent when a fault begins that does not begin at once: a pull of nothing is less.
_BEFORE_IT_DIES = 3


@contextlib.contextmanager
def faulty(fault: str, port: int = 0) -> Iterator[int]:
    """The port of a server that has a fault; `port` is that of the one behind it."""
    if fault == "refused":
        with socket.create_server(("127.0.0.1", 0)) as server:
            free = server.getsockname()[1]
        yield free
        return
    if fault == "black hole":
        with _full() as full:
            yield full
        return
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.1)
        proxy = _Proxy(fault, port, ended)
        thread = threading.Thread(target=proxy.serve, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            thread.join()


@contextlib.contextmanager
def _full() -> Iterator[int]:
    """A port whose queue is full: what is sent to it is dropped, as by a firewall."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


class _Proxy:
    def __init__(self, fault: str, port: int, ended: threading.Event) -> None:
        self._fault, self._port, self._ended = fault, port, ended
        self._asked = 0

    def serve(self, server: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            threads = []
            while not self._ended.is_set():
                try:
                    client, _ = server.accept()
                except OSError:
                    continue
                stack.enter_context(client)
                client.settimeout(0.1)
                thread = threading.Thread(target=self._carry, args=(client,))
                thread.start()
                threads.append(thread)
            for thread in threads:
                thread.join()

    def _carry(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            behind = None
            if self._port:
                behind = stack.enter_context(socket.create_connection(("127.0.0.1", self._port)))
                behind.settimeout(0.1)
                answers = threading.Thread(target=self._answer, args=(behind, client))
                answers.start()
                stack.callback(answers.join)
                stack.callback(behind.shutdown, socket.SHUT_RDWR)
            while not self._ended.is_set():
                try:
                    data = client.recv(1 << 16)
                except TimeoutError:
                    continue
                if not data:
                    return
                self._asked += 1
                if self._fault == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                    return
                if self._fault == "garbage":
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                elif behind is not None and self._fault != "hang" and not self._is_dead:
                    behind.sendall(data)

    @property
    def _is_dead(self) -> bool:
        return self._fault == "dies" and self._asked > _BEFORE_IT_DIES

    def _answer(self, behind: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._ended.is_set():
                try:
                    data = behind.recv(1 << 16)
                except TimeoutError:
                    continue
                if not data:
                    return
                if self._fault == "slow":
                    self._ended.wait(_LATE_S)
                if self._fault == "trickle":
                    for byte in data:
                        client.sendall(bytes([byte]))
                        if self._ended.wait(_DRIP_S):
                            return
                else:
                    client.sendall(data)
