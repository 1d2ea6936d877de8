"""Stores of bytes under names, and the address that chooses one.

==============================  ================================================================
``/srv/tuneonce``, ``~/cache``  a directory, taken literally
``file:///srv/tuneonce``        the same as an address; ``%20`` and its like are decoded
``memory:``                     this process only
``...?readonly=1``              after an address: never write to it
==============================  ================================================================

With ``TUNEONCE_BAKE=1`` in the environment every user may read what is written to a directory.
"""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, urlsplit

from ..addresses import FILE, MEMORY, decoded, scheme_of
from ..errors import SettingsError, StoreUnavailable
from ..settings import read_bake
from .base import Store, StoreInfo

__all__ = ["Store", "StoreInfo", "open_base", "open_store", "open_with_older"]

_YES_NO = {"1": True, "true": True, "0": False, "false": False}


def open_store(url: str | os.PathLike[str]) -> Store:
    """The store at ``url``. Nothing is read, written, created or connected to yet.

    Raises SettingsError if the address cannot mean a store; the message never repeats what may be
    a password.
    """
    address = os.fspath(url)
    scheme = None if isinstance(url, os.PathLike) else scheme_of(address)
    if scheme is None:
        return _directory(address)
    if scheme not in (FILE, MEMORY):
        raise SettingsError(
            f"no store is known for {scheme}: addresses. Use a directory, file:///directory or "
            "memory: (a directory whose name has a colon is written ./like:this)."
        )
    parts = urlsplit(address)
    readonly = _options(parts.query, parts.fragment)
    if scheme == MEMORY:
        if parts.netloc or parts.path:
            raise SettingsError("memory: takes no path and no host")
        from .memory import MemoryStore

        store: Store = MemoryStore()
    else:
        if parts.netloc not in ("", "localhost"):
            raise SettingsError(
                "a file: address names no host: write file:///directory, with three slashes"
            )
        if not parts.path.startswith("/"):
            raise SettingsError("a file: address names an absolute directory: file:///directory")
        store = _directory(decoded(parts.path))
    if not readonly:
        return store
    from .readonly import ReadOnlyStore

    return ReadOnlyStore(store)


def open_with_older(url: str | os.PathLike[str], older: str | None) -> Store:
    """The store at ``url``, which also reads what is in the directory ``older``, if that exists.

    Raises like ``open_store``.
    """
    store = open_store(url)
    if older is None or not os.path.isdir(older):
        return store
    from .layered import LayeredStore

    return LayeredStore(store, _directory(older))


def open_base(directory: str) -> Store:
    """The records in a directory that is only read. It is looked at, and nothing is made.

    Raises StoreUnavailable unless it is there and may be listed, SettingsError for a path that
    means no directory.
    """
    store = _directory(directory)
    try:
        with os.scandir(directory):
            pass
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise StoreUnavailable(f"{directory} cannot be listed: {why}", store=directory) from error
    from .readonly import ReadOnlyStore

    return ReadOnlyStore(store)


def _directory(path: str) -> Store:
    expanded = os.path.expanduser(path)
    if not path or "\0" in path:
        raise SettingsError("a store's directory is empty or has a NUL character in it")
    if expanded.startswith("~"):
        raise SettingsError(f"{path}: no such user, or no home directory, on this machine")
    from .files import FileStore

    try:
        return FileStore(expanded, bake=read_bake(os.environ))
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from error
    except FileNotFoundError as error:  # a relative path, and the current directory was deleted
        raise SettingsError(f"{path}: relative, and there is no current directory") from error


def _options(query: str, fragment: str) -> bool:
    """Whether the store is read-only. It is the only option so far, and misspelling it is fatal."""
    readonly = False
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "readonly" or value.lower() not in _YES_NO:
            raise SettingsError("a store's address takes one option: ?readonly=1")
        readonly = _YES_NO[value.lower()]
    if fragment:
        raise SettingsError("a store's address has no #fragment; write # as %23")
    return readonly
