"""Replicas: what machines share of what they keep, and the address that names one.

================================  ================================================================
``redis://host:6379/0``           a Redis server (extra ``redis``); ``rediss:`` with TLS
``s3://bucket/prefix``            an object store (extra ``s3``); also ``gs:`` and ``az:``
``file:///mnt/shared/tuneonce``   a directory that machines share
``...?namespace=NAME``            shared among those who say the same name; default ``tuneonce``
``...?readonly=1``                never push there
================================  ================================================================

Accounts and passwords, certificates and endpoints are given as the clients take them: in the
address and its other options for Redis (redis-py), in the environment for object stores (obstore).

==================  ===========================================================================
`base`              what a replica is
`in_redis`          one in a Redis server
`in_packs`          one made of packs, in a space of `in_objects`, `in_files` or `in_memory`
`pack_claims`       who works on what, in such a space
`shared`            which records are shared, and which of two stays
`exchange`          push and pull: between a store and a replica
`look`              what is there, and what a store lacks of it
`courier`           any of these in a process that can be ended
`link`, `service`   a program's own courier, from both sides; `wishes` is what they say
==================  ===========================================================================
"""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..addresses import FILE, decoded, scheme_of, without_password
from ..errors import SettingsError
from ..settings import read_bake
from .base import Replica, check_shelf

__all__ = ["Address", "Replica", "open_replica", "read_address"]

REDIS, OBJECTS = ("redis", "rediss"), ("s3", "gs", "az")
NAMESPACE = "tuneonce"

_YES_NO = {"1": True, "true": True, "0": False, "false": False}


class Address(NamedTuple):
    """An address of a remote. `shown` is for people, without credentials; `others` are options
    for the client."""

    scheme: str
    bare: str
    shown: str
    namespace: str
    readonly: bool
    others: list[tuple[str, str]]

    @property
    def extra(self) -> str | None:
        """The extra that brings the client; None if there is none to bring."""
        return "redis" if self.scheme in REDIS else "s3" if self.scheme in OBJECTS else None

    @property
    def client(self) -> str | None:
        """The module of the client."""
        return "redis" if self.scheme in REDIS else "obstore" if self.scheme in OBJECTS else None


def open_replica(url: str) -> Replica:
    """The replica at `url`. Nothing is read, written, created or connected to yet.

    Raises SettingsError if the address cannot mean one; the message never repeats a password.
    """
    address = read_address(url)
    replica = _opened(address)
    if not address.readonly:
        return replica
    from .readonly import ReadOnlyReplica

    return ReadOnlyReplica(replica)


def read_address(url: str) -> Address:
    """What an address says, less what the client makes of it. Raises as `open_replica`."""
    scheme = scheme_of(url)
    if scheme is None or scheme not in (*REDIS, *OBJECTS, FILE):
        raise SettingsError(
            "the address of a remote begins with redis://, rediss://, s3://, gs://, az:// or file://"
        )
    try:
        parts = urlsplit(url)
    except ValueError:  # half of an IPv6 address
        raise SettingsError(f"the {scheme}: address of the remote is not one") from None
    namespace, readonly, others = _options(parts.query, parts.fragment)
    if others and scheme not in REDIS:
        raise SettingsError(
            f"the {scheme}: address of a remote takes two options: namespace=NAME and readonly=1"
        )
    bare = url.partition("#")[0].partition("?")[0]
    shown = without_password(bare)
    if namespace != NAMESPACE:
        shown += f"?{urlencode({'namespace': namespace})}"
    if scheme == FILE:
        parts = urlsplit(bare)
        is_root = not parts.path.strip("/")
        if parts.netloc not in ("", "localhost") or is_root or not parts.path.startswith("/"):
            raise SettingsError("a file: address names an absolute directory: file:///directory")
    return Address(scheme, bare, shown, namespace, readonly, others)


def _opened(address: Address) -> Replica:
    scheme, bare, shown, namespace, _readonly, others = address
    if scheme in REDIS:
        from .in_redis import in_redis

        client = f"{bare}?{urlencode(others)}" if others else bare
        return in_redis(client, shown=shown, namespace=namespace)
    if scheme in OBJECTS:
        from .in_objects import in_objects

        return in_objects(bare, shown=shown, namespace=namespace)
    from .in_files import in_files

    directory, bake = decoded(urlsplit(bare).path), read_bake(os.environ)
    return in_files(directory, shown=shown, namespace=namespace, bake=bake)


def _options(query: str, fragment: str) -> tuple[str, bool, list[tuple[str, str]]]:
    """The namespace, whether it is read-only, and what is none of ours."""
    namespace, readonly = NAMESPACE, False
    others = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "namespace":
            try:
                namespace = check_shelf(value)
            except ValueError:
                raise SettingsError(
                    "the namespace of a remote is one word of the characters A-Z a-z 0-9 _ . = ~ + "
                    "@ - that does not begin with a dot"
                ) from None
        elif name == "readonly":
            if value.lower() not in _YES_NO:
                raise SettingsError("the option of a remote is readonly=1 or readonly=0")
            readonly = _YES_NO[value.lower()]
        else:
            others.append((name, value))
    if fragment:
        raise SettingsError("the address of a remote has no #fragment; write # as %23")
    return namespace, readonly, others
