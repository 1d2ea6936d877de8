"""Addresses of stores: a directory, taken literally, or a URL.

Known are ``file:`` and ``memory:`` (`tuneonce.store` opens them). Whatever has no scheme is a
directory, so one whose name has a colon is written ``./like:this``.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote_to_bytes, urlsplit

FILE, MEMORY = "file", "memory"

# A scheme has two characters or more and stands before any slash.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+]+):")


def scheme_of(address: str) -> str | None:
    """The scheme of a URL, in lower case; None for a directory."""
    found = _SCHEME.match(address)
    return None if found is None else found[1].lower()


def directory_of(address: str) -> str | None:
    """The directory of a store that is one, by path or URL."""
    scheme = scheme_of(address)
    if scheme == FILE:
        return decoded(urlsplit(address).path)
    return address if scheme is None else None


def decoded(path: str) -> str:
    """The path of a URL as the operating system takes it."""
    return os.fsdecode(unquote_to_bytes(path))


def url_of(directory: str) -> str:
    """The URL of an absolute directory."""
    return f"{FILE}://{quote(os.fsencode(directory))}"


def without_password(url: str) -> str:
    """A store's address without the account before its host; a path is shown whole."""
    scheme, separator, rest = url.partition("://")
    if not separator or "/" in scheme:
        # A directory, whatever it is called; or an address whose slashes were forgotten.
        account, at, host = url.rpartition("@")
        word = scheme_of(account)
        return url if word in (None, FILE) or not at else f"{word}:{host}"
    slash = min((place for mark in "/?#" if (place := rest.find(mark)) >= 0), default=len(rest))
    authority, path = rest[:slash], rest[slash:]
    _account, at, host = authority.rpartition("@")
    _name, colon, port = authority.rpartition(":")
    if not at and colon and port and not port.isdigit():
        # No port: a password that has a slash which is not written as %2F.
        authority, path = rest, ""
        _account, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{host if at else authority}{path}"
