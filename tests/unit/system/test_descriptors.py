"""Descriptors that the program closes, or puts its own files in the place of."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuneonce.system.descriptors import Descriptor


@pytest.fixture
def pair() -> Iterator[tuple[Descriptor, socket.socket]]:
    here, there = socket.socketpair()
    descriptor = Descriptor(here.detach())
    yield descriptor, there
    descriptor.close()
    there.close()


def test_what_is_sent_arrives(pair: tuple[Descriptor, socket.socket]) -> None:
    descriptor, there = pair
    assert descriptor.fileno() > 2
    descriptor.send(b"hello")
    assert there.recv(5) == b"hello"
    there.sendall(b"there")
    assert descriptor.read(5) == b"there"


def test_one_that_the_program_has_closed(pair: tuple[Descriptor, socket.socket]) -> None:
    descriptor, there = pair
    os.close(descriptor.fileno())
    for use in (lambda: descriptor.send(b"x"), lambda: descriptor.read(1), descriptor.fileno):
        with pytest.raises(OSError, match="descriptor"):
            use()
    descriptor.close()
    assert there.recv(1) == b""


def test_a_number_that_the_program_uses_for_a_file(
    pair: tuple[Descriptor, socket.socket], tmp_path: Path
) -> None:
    descriptor, _ = pair
    number = descriptor.fileno()
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"theirs")
    os.dup2(fd, number)
    os.close(fd)
    refuses(descriptor)
    os.fstat(number)  # theirs is still open
    assert (tmp_path / "file").read_bytes() == b"theirs"
    os.close(number)


def test_a_number_that_the_program_uses_for_a_socket(
    pair: tuple[Descriptor, socket.socket],
) -> None:
    descriptor, _ = pair
    number = descriptor.fileno()
    theirs, other = socket.socketpair()
    with theirs, other:
        os.dup2(theirs.fileno(), number)
        refuses(descriptor)
        os.fstat(number)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
    os.close(number)


def refuses(descriptor: Descriptor) -> None:
    for use in (lambda: descriptor.send(b"x"), lambda: descriptor.read(1)):
        with pytest.raises(OSError, match="closed a descriptor"):
            use()
    descriptor.close()


def test_closing_twice_closes_nobody_elses(
    pair: tuple[Descriptor, socket.socket], tmp_path: Path
) -> None:
    descriptor, _ = pair
    number = descriptor.fileno()
    descriptor.close()
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.dup2(fd, number)
    descriptor.close()
    os.fstat(number)
    for one in {fd, number}:
        os.close(one)
