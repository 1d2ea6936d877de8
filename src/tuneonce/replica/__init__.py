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
`courier`           either of these in a process that can be ended
==================  ===========================================================================
"""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..addresses import FILE, decoded, scheme_of, without_password
from ..errors import SettingsError
from ..settings import read_bake
from .base import Replica, check_shelf

__all__ = ["Replica", "open_replica"]

REDIS, OBJECTS = ("redis", "rediss"), ("s3", "gs", "az")
NAMESPACE = "tuneonce"

_YES_NO = {"1": True, "true": True, "0": False, "false": False}


def open_replica(url: str) -> Replica:
    """The replica at `url`. Nothing is read, written, created or connected to yet.

    Raises SettingsError if the address cannot mean one; the message never repeats a password.
    """
    scheme = scheme_of(url)
    if scheme not in (*REDIS, *OBJECTS, FILE):
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
    replica = _opened(scheme, bare, shown, namespace, others)
    if not readonly:
        return replica
    from .readonly import ReadOnlyReplica

    return ReadOnlyReplica(replica)


def _opened(
    scheme: str | None, bare: str, shown: str, namespace: str, others: list[tuple[str, str]]
) -> Replica:
    if scheme in REDIS:
        from .in_redis import in_redis

        client = f"{bare}?{urlencode(others)}" if others else bare
        return in_redis(client, shown=shown, namespace=namespace)
    if scheme in OBJECTS:
        from .in_objects import in_objects

        return in_objects(bare, shown=shown, namespace=namespace)
    from .in_files import in_files

    parts = urlsplit(bare)
    is_root = not parts.path.strip("/")
    if parts.netloc not in ("", "localhost") or is_root or not parts.path.startswith("/"):
        raise SettingsError("a file: address names an absolute directory: file:///directory")
    bake = read_bake(os.environ)
    return in_files(decoded(parts.path), shown=shown, namespace=namespace, bake=bake)


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
