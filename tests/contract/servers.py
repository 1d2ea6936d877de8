"""Servers that machines share through, each on loopback and as long as a block lasts.

Where one is not installed its tests are skipped, but in CI, which has them all.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tuneonce.bench.ports import free_port

_PATIENCE_S = 30.0


def need(*, program: str | None = None, module: str | None = None) -> None:
    """Skip the test where a program or a module is missing; fail in CI."""
    if program is not None and shutil.which(program) is None:
        _missing(f"{program} is not installed")
    if module is not None and importlib.util.find_spec(module) is None:
        _missing(f"{module} is not installed")


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@contextlib.contextmanager
def redis_server(
    port: int | None = None, *, host: str = "127.0.0.1", options: Sequence[str] = ()
) -> Iterator[int]:
    """A Redis server that keeps nothing on a disk; its port. At `host` it answers, too.

    `options` of its command line come last.
    """
    need(program="redis-server", module="redis")
    port = free_port("127.0.0.1") if port is None else port
    hosts = dict.fromkeys(("127.0.0.1", host))
    words = ["--port", str(port), "--bind", *hosts, "--save", "", "--appendonly", "no"]
    words += ["--protected-mode", "no"]
    with _running(["redis-server", *words, *options]) as process:
        while not _answers(port):
            _go_on(process)
        yield port


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as one:
        one.sendall(b"PING\r\n")
        return bool(one.recv(100))
    return False


@contextlib.contextmanager
def moto_server(bucket: str, *, host: str = "127.0.0.1") -> Iterator[str]:
    """moto's S3 at `host`, with one bucket; its address."""
    need(module="obstore")
    need(module="moto")
    need(module="flask_cors")
    port = free_port(host)
    url = f"http://{host}:{port}"
    command = [sys.executable, "-c", "from moto.server import main; main()"]
    with _running([*command, "-H", host, "-p", str(port)]) as process:
        make = urllib.request.Request(f"{url}/{bucket}", method="PUT")
        while True:
            try:
                urllib.request.urlopen(make, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                _go_on(process)
        yield url


AZURITE = Path(__file__).parents[2] / ".venv/azurite/node_modules/.bin/azurite-blob"
"""Where ``scripts/azurite.sh`` puts Microsoft's emulator, which needs Node."""

# The account that every emulator of Azure has, and its key, which is no secret.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextlib.contextmanager
def azurite_server(container: str) -> Iterator[str]:
    """Azurite's Azure with one container; its address."""
    need(module="obstore")
    if shutil.which("node") is None or not AZURITE.exists():
        pytest.skip("azurite is not installed (scripts/azurite.sh, which needs npm)")
    port = free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    words = ["--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck", "--silent"]
    with _running([str(AZURITE), *words]) as process:
        while True:
            try:
                urllib.request.urlopen(_new_container(url, container), timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                _go_on(process)
        yield url


def _new_container(url: str, name: str) -> urllib.request.Request:
    """What makes a container, signed with the account's key."""
    now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    headers = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
    resource = f"/{_ACCOUNT}/{_ACCOUNT}/{name}\nrestype:container"
    # urllib says of which type even nothing is.
    kind = "application/octet-stream"
    standard = ["", "", "", "", kind, *[""] * 6]
    signed = "\n".join(
        ["PUT", *standard, *(f"{key}:{value}" for key, value in headers.items()), resource]
    )
    digest = hmac.digest(base64.b64decode(_KEY), signed.encode(), "sha256")
    headers["Content-Type"] = kind
    headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
    return urllib.request.Request(
        f"{url}/{name}?restype=container", data=b"", method="PUT", headers=headers
    )


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path("/")
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


_began: dict[int, float] = {}


def _go_on(process: subprocess.Popen[bytes]) -> None:
    """Between two looks at a server that has not answered yet."""
    began = _began.setdefault(process.pid, time.monotonic())
    assert process.poll() is None, "the server has ended"
    assert time.monotonic() - began < _PATIENCE_S, "the server does not answer"
    time.sleep(0.02)


def s3_environment(url: str) -> dict[str, str]:
    """What tells obstore of a server on loopback."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


def google_environment(url: str) -> dict[str, str]:
    """The same for Google Cloud Storage."""
    import json

    key = {
        "gcs_base_url": url,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key), "GOOGLE_ALLOW_HTTP": "true"}


def azurite_environment(url: str) -> dict[str, str]:
    """The same for Azurite."""
    return {
        "AZURE_STORAGE_ENDPOINT": url,
        "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
        "AZURE_ALLOW_HTTP": "true",
    }


def azure_environment(url: str) -> dict[str, str]:
    """The same for Azure."""
    return {
        "AZURE_STORAGE_ENDPOINT": url,
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_SKIP_SIGNATURE": "true",
        "AZURE_ALLOW_HTTP": "true",
    }
