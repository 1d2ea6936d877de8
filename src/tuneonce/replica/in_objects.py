"""A replica in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.

A head is replaced by a conditional write (``If-Match``, ``If-None-Match: *``). Servers that know no
conditions either say so or, worse, ignore them, which is found out before the first push: a name
that exists is created again, and replaced where it has another version. Where either succeeds, the
last one who writes a head wins, and `Space.conditional` says so.

Each request is bounded in time as a whole, and made once. An object's size is looked at before its
body is read.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

from ..errors import SettingsError, StoreError, StoreReadOnly, StoreUnavailable
from .base import ReplicaInfo
from .in_packs import PackReplica
from .space import Space, Swap, Versioned

T = TypeVar("T")

# Seconds: for connecting, and for a request with its body. Arbitrary; a pack of 8 MiB needs 3 MiB
# a second.
CONNECT_S, REQUEST_S = 3.0, 10.0

# Requests under way at once. Arbitrary; a shelf has some ten packs.
_AT_ONCE = 8

_PROBE = "probe"

# What else a server may say to a conditional write. One that knows no conditions counts as one that
# ignores them, and is found out by the same question. Google allows one write of a name a second.
_CODES = {
    "501 Not Implemented": Swap.DONE,
    "429 Too Many Requests": Swap.UNSURE,
    "503 Service Unavailable": Swap.UNSURE,
}

# S3 answers a removal that it does not allow with an error inside of an answer that is none.
_DENIED = ("AccessDenied", "Access Denied")

# Where endpoints without TLS are allowed, for S3, Google Cloud Storage and Azure.
_ALLOW_HTTP = ("AWS_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP", "AZURE_ALLOW_HTTP")


class ObjectSpace(Space):
    """Objects of a bucket below a prefix. `store` is one of obstore's."""

    def __init__(self, store: Any, url: str, namespace: str) -> None:
        super().__init__()
        self._store = store
        self._url = url
        self._probe = f"{namespace}/{_PROBE}"
        self._is_prepared = False

    def prepare(self) -> None:
        if self._is_prepared:
            return
        # The first one of all creates it, and then looks again.
        created = self._succeeds("create") and self._succeeds("create")
        other = {"e_tag": '"00000000000000000000000000000000"', "version": "1"}
        self.conditional = not created and not self._succeeds(other)
        self._is_prepared = True

    def try_writing(self, prefix: str) -> bool:
        # What is refused under a condition that does not hold would be allowed otherwise. But the
        # first one of all to ask creates what the condition is about.
        if not self.folders(prefix):
            return False
        self.prepare()
        return True

    def _succeeds(self, mode: Any) -> bool:
        swap = self._put_if(self._probe, b"", mode)
        if swap is Swap.UNSURE:
            raise StoreUnavailable(f"{self._url} is too busy; try again later", store=self._url)
        return swap is Swap.DONE

    def read(self, names: Sequence[str], *, most: int) -> list[bytes | None]:
        if len(names) < 2:
            self.traffic.round_trips += len(names)
            return [self._read(name, most)[0] for name in names]
        self.traffic.round_trips += -(-len(names) // _AT_ONCE)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return [*threads.map(lambda name: self._read(name, most)[0], names)]

    def _read(self, name: str, most: int) -> tuple[bytes | None, Any]:
        from obstore.exceptions import NotFoundError

        def get() -> tuple[bytes | None, Any]:
            try:
                found = self._store.get(name)
            except (NotFoundError, FileNotFoundError):
                return None, None
            if found.meta["size"] > most:
                raise StoreUnavailable(
                    f"{self._url}: {name} has {found.meta['size']} bytes, which no object of ours "
                    "has; it is not read",
                    store=self._url,
                )
            return bytes(found.bytes()), found.meta

        data, meta = self._ask(get)
        self.traffic.received += len(data or b"")
        return data, meta

    def create(self, name: str, data: bytes) -> None:
        self.traffic.round_trips += 1
        self.traffic.sent += len(data)
        self._ask(lambda: self._store.put(name, data, use_multipart=False), writes=True)

    def remove(self, names: Sequence[str]) -> None:
        from obstore.exceptions import NotFoundError

        def delete(name: str) -> None:
            with contextlib.suppress(NotFoundError, FileNotFoundError):
                self._store.delete(name)

        self.traffic.round_trips += len(names)
        for name in names:
            self._ask(functools.partial(delete, name), writes=True)

    def read_head(self, name: str, *, most: int) -> Versioned | None:
        self.traffic.round_trips += 1
        return self._read_head(name, most)

    def read_heads(self, names: Sequence[str], *, most: int) -> list[Versioned | None]:
        self.traffic.round_trips += -(-len(names) // _AT_ONCE)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return [*threads.map(lambda name: self._read_head(name, most), names)]

    def _read_head(self, name: str, most: int) -> Versioned | None:
        data, meta = self._read(name, most)
        if data is None:
            return None
        return Versioned(data, f"{meta.get('e_tag') or ''} {meta.get('version') or ''}")

    def swap(self, name: str, data: bytes, version: str | None) -> Swap:
        self.traffic.sent += len(data)
        if not self.conditional:
            self.create(name, data)
            return Swap.DONE
        if version is None:
            return self._put_if(name, data, "create")
        tag, _, number = version.rpartition(" ")
        is_it = {"e_tag": tag, "version": number}
        return self._put_if(name, data, {what: text for what, text in is_it.items() if text})

    def _put_if(self, name: str, data: bytes, mode: Any) -> Swap:
        from obstore.exceptions import (
            AlreadyExistsError,
            GenericError,
            NotSupportedError,
            PreconditionError,
        )

        def put() -> Swap:
            try:
                self._store.put(name, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, FileExistsError, PreconditionError):
                return Swap.LOST
            except (NotSupportedError, NotImplementedError):
                pass
            except GenericError as error:
                known = next((swap for code, swap in _CODES.items() if code in str(error)), None)
                if known is None:
                    raise
                return known
            return Swap.DONE

        self.traffic.round_trips += 1
        return self._ask(put, writes=True)

    def folders(self, prefix: str) -> list[str]:
        self.traffic.round_trips += 1
        found = self._ask(lambda: self._store.list_with_delimiter(f"{prefix}/"))
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found["common_prefixes"])

    def _ask(self, call: Callable[[], T], *, writes: bool = False) -> T:
        """Make a request. Raises StoreError for whatever goes wrong."""
        from obstore.exceptions import BaseError

        self.traffic.requests += 1
        try:
            return call()
        except (BaseError, OSError, ValueError) as error:
            raise self._error(error, writes=writes) from error

    def _error(self, error: Exception, *, writes: bool) -> StoreError:
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        text = f"{type(error).__name__}: {_first_line(error)}"
        refused = (PermissionDeniedError, UnauthenticatedError, PermissionError)
        if writes and (isinstance(error, refused) or any(word in text for word in _DENIED)):
            return StoreReadOnly(
                f"{self._url} does not let these credentials write: {text}. If reading is all that "
                "they are for, add ?readonly=1 to the address",
                store=self._url,
            )
        return StoreUnavailable(
            f"{self._url} did not do what was asked: {text}. Look at the bucket, the "
            "credentials and TUNEONCE_REMOTE",
            store=self._url,
        )


def _first_line(error: Exception) -> str:
    """The beginning of a message: the rest repeats the request."""
    return str(error).strip().partition("\n")[0][:300]


def in_objects(url: str, *, shown: str, namespace: str) -> PackReplica:
    """The replica in a bucket, by a URL as obstore takes it; nobody is asked yet.

    `shown` is the address without credentials. Raises SettingsError.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise SettingsError(
            f"{shown} needs obstore: pip install 'tuneonce[s3]' ({error})"
        ) from error
    # Options of the client take the place of those in the environment, this one, too.
    plain = any(os.environ.get(name, "").lower() in ("true", "1") for name in _ALLOW_HTTP)
    options = {
        "timeout": timedelta(seconds=REQUEST_S),
        "connect_timeout": timedelta(seconds=CONNECT_S),
        **({"allow_http": True} if plain else {}),
    }
    try:
        store = from_url(url, client_options=options, retry_config={"max_retries": 0})
    except (BaseError, ValueError) as error:
        # Not its words: it may repeat a secret.
        raise SettingsError(
            f"{shown} is no address that obstore takes, or its settings in the environment are not"
        ) from error
    space = ObjectSpace(store, shown, namespace)
    return PackReplica(space, ReplicaInfo(kind="objects", url=shown), namespace)
