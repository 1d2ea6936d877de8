"""A small object store that answers as S3, Google or Azure do, or as bad as it is told to.

It speaks what obstore asks for: whole objects, conditions on writing, listing by a delimiter,
removing. `Faults` say what it does wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class Faults:
    """What the server does wrong, changed while it runs.

    `ignores`: conditions are accepted and not looked at; `unsupported`: they are refused with 501.
    `busy`: the next writes that have conditions get these codes, one after the other.
    `refuses` are methods that get 403, `fails` those that get 500. `silent`: nothing is answered
    until `over` is set. `claims`: so many bytes are announced of every object. `loses`: what has a
    name of this pattern is said to be kept and is not.
    """

    ignores: bool = False
    unsupported: bool = False
    busy: list[int] = field(default_factory=list)
    refuses: frozenset[str] = frozenset()
    fails: frozenset[str] = frozenset()
    silent: bool = False
    claims: int = 0
    loses: str = ""
    over: threading.Event = field(default_factory=threading.Event)


@dataclass
class Stored:
    data: bytes
    generation: int

    @property
    def e_tag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


class FakeObjects:
    """What is stored, by bucket and name, and what was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.faults = Faults()
        self.asked: list[str] = []
        self.lock = threading.Lock()
        # Large, as Google's are: a client that wants to name a version that never was says 1.
        self.generations = itertools.count(1_000_000)
        self.url = ""

    def names(self) -> list[str]:
        return sorted(self.objects)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: FakeObjects

    def log_message(self, *words: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        with contextlib.suppress(OSError):  # the client has gone
            super().handle_one_request()

    def _begin(self) -> tuple[str, bytes] | None:
        """The name that is asked about, and the body; None if that was the answer."""
        faults, parts = self.fake.faults, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.fake.asked.append(f"{self.command} {unquote(parts.path)}")
        if faults.silent:
            faults.over.wait(60)
        for what, code in ((faults.refuses, 403), (faults.fails, 500)):
            if self.command in what:
                self._answer(code)
                return None
        return unquote(parts.path).lstrip("/"), body

    def do_GET(self) -> None:
        if (begun := self._begin()) is None:
            return
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query or "comp" in query:
            self._list(begun[0], query.get("prefix", [""])[0], azure="comp" in query)
            return
        found = self.fake.objects.get(begun[0])
        if found is None:
            self._answer(404)
        elif self.fake.faults.claims:
            self._answer(200, b"", found, length=self.fake.faults.claims)
            self.close_connection = True
        else:
            self._answer(200, found.data, found)

    def do_PUT(self) -> None:
        if (begun := self._begin()) is None:
            return
        name, body = begun
        faults = self.fake.faults
        conditions = ("if-match", "if-none-match", "x-goog-if-generation-match")
        given = {name: self.headers[name] for name in conditions if self.headers[name]}
        if given and faults.unsupported:
            self._answer(501)
            return
        if given and faults.busy:
            self._answer(faults.busy.pop(0))
            return
        with self.fake.lock:
            there = self.fake.objects.get(name)
            if given and not faults.ignores and not _holds(given, there):
                self._answer(412)
                return
            stored = Stored(body, next(self.fake.generations))
            if not (faults.loses and re.search(faults.loses, name)):
                self.fake.objects[name] = stored
        self._answer(200, b"", stored)

    def do_DELETE(self) -> None:
        if (begun := self._begin()) is not None:
            self.fake.objects.pop(begun[0], None)
            self._answer(204)

    def do_POST(self) -> None:  # several are removed at once
        if (begun := self._begin()) is None:
            return
        if "comp=batch" in self.path:
            self._remove_as_azure(begun[1].decode())
            return
        names = re.findall(r"<Key>([^<]*)</Key>", begun[1].decode())
        for name in names:
            self.fake.objects.pop(f"{begun[0].rstrip('/')}/{name}", None)
        gone = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
        self._answer(200, f"<DeleteResult>{gone}</DeleteResult>".encode())

    def _remove_as_azure(self, parts: str) -> None:
        answers = []
        for number, path in enumerate(re.findall(r"^DELETE (\S+) HTTP", parts, re.MULTILINE)):
            gone = self.fake.objects.pop(unquote(urlsplit(path).path).lstrip("/"), None)
            head = f"content-type: application/http\r\ncontent-id: {number}\r\n\r\n"
            status = "404 Not Found" if gone is None else "202 Accepted"
            answers.append(f"--parts\r\n{head}HTTP/1.1 {status}\r\n\r\n")
        body = "".join([*answers, "--parts--\r\n"]).encode()
        self._answer(202, body, kind="multipart/mixed; boundary=parts")

    def _list(self, bucket: str, prefix: str, *, azure: bool) -> None:
        start = f"{bucket.rstrip('/')}/{prefix}"
        rest = [name[len(start) :] for name in self.fake.names() if name.startswith(start)]
        folders = sorted({one.partition("/")[0] for one in rest if "/" in one})
        outer, inner = ("BlobPrefix", "Name") if azure else ("CommonPrefixes", "Prefix")
        found = "".join(
            f"<{outer}><{inner}>{escape(prefix + one)}/</{inner}></{outer}>" for one in folders
        )
        if azure:
            blobs = f"<Blobs>{found}</Blobs><NextMarker/>"
            self._answer(200, f"<EnumerationResults>{blobs}</EnumerationResults>".encode())
            return
        head = f"<Name>{bucket}</Name><KeyCount>{len(folders)}</KeyCount>"
        body = f"<ListBucketResult>{head}<IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        self._answer(200, body.encode())

    def _answer(
        self,
        code: int,
        body: bytes = b"",
        stored: Stored | None = None,
        length: int | None = None,
        kind: str = "",
    ) -> None:
        self.send_response(code)
        if kind:
            self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.send_header("last-modified", "Mon, 02 Nov 2026 00:00:00 GMT")
        if stored is not None:
            self.send_header("etag", stored.e_tag)
            self.send_header("x-goog-generation", str(stored.generation))
        self.end_headers()
        self.wfile.write(body)


def _holds(given: dict[str, str], there: Stored | None) -> bool:
    if "if-none-match" in given or given.get("x-goog-if-generation-match") == "0":
        return there is None
    if there is None:
        return False
    return given.get("if-match") == there.e_tag or given.get("x-goog-if-generation-match") == str(
        there.generation
    )


@contextlib.contextmanager
def fake_objects() -> Iterator[FakeObjects]:
    """A server on loopback, as long as the block lasts."""
    fake = FakeObjects()
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        fake.faults.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
