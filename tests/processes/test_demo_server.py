"""The demo's server as a process: it listens, it answers, it ends well."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

ROOT = Path(__file__).parents[2]

SERVE = """
import sys
from tests.unit.demo.fake_model import FakeModel
from tuneonce.demo.protocol import ServedModel
from tuneonce.demo.server import serve

def load():
    if "fail" in sys.argv:
        raise RuntimeError("no weights")
    return FakeModel()

sys.exit(serve(load, model=ServedModel("m", 100, 300), host="127.0.0.1", port=int(sys.argv[1])))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python process; what is still running at the end is killed."""
    started = []

    def run(*args: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, *args],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield run
    for child in started:
        child.kill()
        child.wait()
        child.stderr.close()


def ready(child: subprocess.Popen[str]) -> int:
    """The port of the child's server, once its model is loaded."""
    assert child.stderr is not None
    port = 0
    for line in child.stderr:
        if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
            port = int(found[1])
        if "model loaded" in line:
            return port
    raise AssertionError("the server ended")


@contextlib.contextmanager
def asking(port: int, **body: Any) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
        with connection.getresponse() as response:
            yield response


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_good_end(start: Start, number: signal.Signals) -> None:
    child = start("-c", SERVE, "0")
    with asking(ready(child), prompt="ab", max_tokens=2) as answer:
        assert json.loads(answer.read())["choices"][0]["text"] == "ba"
    child.send_signal(number)
    assert child.wait(30) == 0
    assert child.communicate()[1] == ""


def test_a_signal_ends_an_answer_in_progress(start: Start) -> None:
    child = start("-c", SERVE, "0")
    # The model waits for ever before this answer's second token.
    with asking(ready(child), prompt=[2, 97], max_tokens=5, stream=True) as answer:
        assert b'"text":"a"' in answer.readline()
        child.send_signal(signal.SIGTERM)
        rest = answer.read()
    assert b"shutting down" in rest
    assert rest.endswith(b"data: [DONE]\n\n")
    assert child.wait(30) == 0
    assert child.communicate()[1] == ""


def test_a_model_that_cannot_be_loaded_ends_the_server(start: Start) -> None:
    child = start("-c", SERVE, "0", "fail")
    _, said = child.communicate(timeout=30)
    assert child.returncode == 1
    assert said.splitlines()[-1] == "tuneonce demo: the model could not be loaded: no weights"


def test_a_port_that_is_taken_is_one_line(start: Start) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("triton")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        child = start("-m", "tuneonce.demo", "--preset", "cpu", "--port", str(port))
        _, said = child.communicate(timeout=60)
    assert child.returncode == 2
    assert said == (
        f"tuneonce demo: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    )


def test_imports_are_light(start: Start) -> None:
    child = start(
        "-c",
        "import sys, tuneonce.cli.demo_serve, tuneonce.demo.start, tuneonce.demo.presets\n"
        "heavy = {'torch', 'triton', 'numpy', 'starlette', 'uvicorn', 'asyncio'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or None)",
    )
    assert child.communicate(timeout=30)[1] == ""
    assert child.returncode == 0
