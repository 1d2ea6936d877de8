"""What runs in the courier's process, by its words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tuneonce.replica.courier_process import MOST_MEMORY, Order, Word

START = "from tuneonce.replica import courier_process as it; import sys; sys.exit(it.main())"


def words_of(order: bytes, before: str = "", *, close: bool = False) -> list[Word]:
    """What a courier says; with `close` its parent has ended before it could do anything."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{START}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(order)
    process.stdin.flush()
    if close:
        process.stdin.close()
    with process.stdout:
        said = process.stdout.read()
    process.wait(timeout=60)
    if not close:
        process.stdin.close()
    return [msgspec.json.decode(line, type=Word) for line in said.splitlines()]


def line(order: Order) -> bytes:
    return msgspec.json.encode(order) + b"\n"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    (tmp_path / "store").mkdir()
    return Order("push", str(tmp_path / "store"), f"file://{tmp_path}/remote")


def test_it_says_what_it_did(order: Order) -> None:
    (word,) = words_of(line(order))
    assert word.error is None
    assert word.did is not None
    assert word.did["new"] == 0
    assert word.url == order.remote


def test_what_a_client_prints_is_no_word(order: Order) -> None:
    before = (
        "import tuneonce.replica as r; was = r.open_replica\n"
        "def noisy(url):\n    print('hello'); return was(url)\n"
        "r.open_replica = noisy"
    )
    (word,) = words_of(line(order), before)
    assert word.did is not None


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        ("r.errors_StoreFull('no room')", "StoreFull"),
        ("MemoryError()", "StoreUnavailable"),
        ("type('PanicException', (BaseException,), {})('a client')", "StoreUnavailable"),
    ],
)
def test_whatever_is_raised_becomes_a_word(order: Order, raised: str, error: str) -> None:
    before = (
        "import tuneonce.replica as r\n"
        "from tuneonce.errors import StoreFull as full\n"
        "r.errors_StoreFull = full\n"
        f"def fails(url):\n    raise {raised}\n"
        "r.open_replica = fails"
    )
    (word,) = words_of(line(order), before)
    assert word.error == error


def test_its_memory_is_bounded(order: Order) -> None:
    before = (
        "import tuneonce.replica as r\n"
        f"def fills(url):\n    bytearray({MOST_MEMORY})\n"
        "r.open_replica = fills"
    )
    (word,) = words_of(line(order), before)
    assert "MemoryError" in word.message


def test_it_ends_with_its_parent(order: Order) -> None:
    before = (
        "import tuneonce.replica as r, threading\n"
        "def waits(url):\n    threading.Event().wait()\n"
        "r.open_replica = waits"
    )
    assert words_of(line(order), before, close=True) == []
