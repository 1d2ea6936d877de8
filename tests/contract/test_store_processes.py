"""The contract among processes, for every store that processes can share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tuneonce.store
from tuneonce.store import open_store

SHARED: dict[str, Callable[[Path], str]] = {"files": lambda folder: f"file://{folder}/store"}

RACER = Path(__file__).with_name("store_racer.py")
SOURCE = Path(tuneonce.store.__file__).parents[2]

# A file store on a file system without hard links has another way to a free name.
NO_LINKS = (
    "import errno, os, runpy, sys\n"
    "def link(*a, **k): raise OSError(errno.EPERM, 'no links')\n"
    "os.link = link\n"
    "sys.argv.pop(0)\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


@pytest.fixture(params=list(SHARED))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return SHARED[request.param](tmp_path)


def race(
    game: str, address: str, rounds: int, *, count: int = 8, code: str = ""
) -> list[list[int]]:
    """What each of ``count`` processes says that it won, having started together."""
    start = ["-c", code, str(RACER)] if code else [str(RACER)]
    players = [
        subprocess.Popen(
            [sys.executable, "-W", "error", *start, game, address, str(me), str(rounds)],
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(count)
    ]
    try:
        for player in players:
            assert player.stdout is not None
            player.stdout.readline()
        for player in players:
            assert player.stdin is not None
            player.stdin.write("go\n")
            player.stdin.flush()
        wins = []
        for player in players:
            out, problems = player.communicate(timeout=60)
            assert player.returncode == 0, problems
            wins.append(json.loads(out))
        return wins
    finally:
        for player in players:
            player.kill()
            player.communicate()


@pytest.mark.parametrize("code", ["", NO_LINKS], ids=["as-is", "no-hard-links"])
def test_one_winner_and_a_readable_record(address: str, code: str) -> None:
    rounds = 300
    wins = race("first", address, rounds, code=code)
    assert sorted(number for won in wins for number in won) == list(range(rounds))
    with open_store(address) as store:
        assert len(list(store.list(""))) == rounds
        for me, won in enumerate(wins):
            for number in won:
                data = store.get(f"kernel/world/{number}/verdict.json")
                assert data == (f"{me}:{number}:" * 500).encode()


def test_one_deleter(address: str) -> None:
    rounds = 200
    with open_store(address) as store:
        for number in range(rounds):
            store.put(f"kernel/old/{number}.json", b"old", durable=False)
        wins = race("delete", address, rounds)
        assert sorted(number for won in wins for number in won) == list(range(rounds))
        assert list(store.list("")) == []


@pytest.mark.parametrize("code", ["", NO_LINKS], ids=["as-is", "no-hard-links"])
def test_a_claim_has_one_holder(address: str, code: str) -> None:
    race("claim", address, 40, count=4, code=code)
    with open_store(address) as store:
        assert list(store.list("")) == []


def test_whole_records_under_writers(address: str) -> None:
    race("overwrite", address, 40)
    with open_store(address) as store:
        assert list(store.list("")) == ["shared"]
