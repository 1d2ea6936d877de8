"""Servers that machines share through, each on loopback and as long as a block lasts.

Where one is not installed its tests are skipped, but in CI, which has them all.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
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
def redis_server(port: int | None = None, *, host: str = "127.0.0.1") -> Iterator[int]:
    """A Redis server that keeps nothing on a disk; its port. At `host` it answers, too."""
    need(program="redis-server", module="redis")
    port = free_port("127.0.0.1") if port is None else port
    hosts = dict.fromkeys(("127.0.0.1", host))
    words = ["--port", str(port), "--bind", *hosts, "--save", "", "--appendonly", "no"]
    words += ["--protected-mode", "no"]
    with _running(["redis-server", *words]) as process:
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


def azure_environment(url: str) -> dict[str, str]:
    """The same for Azure."""
    return {
        "AZURE_STORAGE_ENDPOINT": url,
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_SKIP_SIGNATURE": "true",
        "AZURE_ALLOW_HTTP": "true",
    }
