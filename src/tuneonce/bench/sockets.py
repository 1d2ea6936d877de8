"""Which TCP sockets have a port, and which processes have those, as Linux tells it.

A socket that is bound and neither listens nor is connected is in none of the kernel's tables:
``/proc/net/tcp`` begins with listening. Other systems tell nothing here.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from . import procfs

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = "0A"


class Socket(NamedTuple):
    """A socket by its near end; `inode` is 0 for connections that no process has any more."""

    address: IPv4Address | IPv6Address
    listening: bool
    inode: int


def on_port(port: int) -> list[Socket] | None:
    """All sockets whose near end is at the port; None where nobody tells."""
    found = []
    told = False
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        told = True
        for fields in map(str.split, lines):
            address, _, number = fields[1].partition(":")
            if int(number, 16) == port:
                found.append(Socket(_address(address), fields[3] == _LISTEN, int(fields[9])))
    return found if told else None


def listening_at(host: str, port: int) -> set[int]:
    """The inodes of the sockets that may take a connection to `host` and `port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        known = {ip_address(info[4][0]) for info in socket.getaddrinfo(host, port, family)}
    except (OSError, ValueError):
        known = set()
    return {
        one.inode
        for one in on_port(port) or ()
        if one.listening and (not known or any(_takes(one.address, host) for host in known))
    }


def holders(inodes: set[int]) -> dict[int, set[int]]:
    """Which processes have which of these sockets open, as far as this user may see."""
    found: dict[int, set[int]] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in procfs.pids():
        # Somebody else's process, or one that is gone, or a descriptor that is.
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inode = wanted.get(str(descriptor.readlink()))
                    if inode is not None:
                        found.setdefault(inode, set()).add(pid)
    return found


def _address(text: str) -> IPv4Address | IPv6Address:
    """One or four words of 32 bits, each in the byte order of the machine."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    if len(packed) == 4:
        return IPv4Address(packed)
    address = IPv6Address(packed)
    return address.ipv4_mapped or address


def _takes(bound: IPv4Address | IPv6Address, asked: IPv4Address | IPv6Address) -> bool:
    """Whether a socket bound to one address takes connections to the other.

    ``::`` is taken to include all of IPv4, because the table does not say whether it does.
    """
    return bound == asked or (bound.is_unspecified and bound.version >= asked.version)
