"""Which TCP sockets have a port, and which processes have those, as psutil tells it.

A socket that is bound and neither listens nor is connected is in none of the kernel's tables, which
begin with listening. Of the processes that share a socket psutil names one: for the others each is
asked by itself. Which addresses a socket takes connections for is not psutil's to say.
"""

from __future__ import annotations

import contextlib
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import psutil

from . import procfs


def on_port(port: int) -> list[Any] | None:
    """All connections (`psutil.net_connections`) whose near end is at the port; None where the
    system does not tell them."""
    try:
        return [one for one in psutil.net_connections("tcp") if _port(one) == port]
    except (psutil.Error, OSError):
        return None


def listeners(host: str, port: int) -> set[int | None]:
    """The processes that may take a connection to `host` and `port`; None: of another user's."""
    asked = _addresses(host, port)

    def may_take(one: Any) -> bool:
        if one.status != psutil.CONN_LISTEN or _port(one) != port:
            return False
        return not asked or any(_takes(_address(one.laddr.ip), address) for address in asked)

    found = {one.pid for one in on_port(port) or () if may_take(one)}
    for process in procfs.living() if found else ():
        with contextlib.suppress(psutil.Error, OSError):
            if any(map(may_take, process.net_connections("tcp"))):
                found.add(process.pid)
    return found


def _port(one: Any) -> int | None:
    return one.laddr.port if one.laddr else None


def _addresses(host: str, port: int) -> set[IPv4Address | IPv6Address]:
    """What the host's name stands for; nothing where that is not known."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return {ip_address(info[4][0]) for info in socket.getaddrinfo(host, port, family)}
    except (OSError, ValueError):
        return set()


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def _takes(bound: IPv4Address | IPv6Address, asked: IPv4Address | IPv6Address) -> bool:
    """Whether a socket bound to one address takes connections to the other.

    ``::`` is taken to include all of IPv4, because the table does not say whether it does.
    """
    return bound == asked or (bound.is_unspecified and bound.version >= asked.version)
