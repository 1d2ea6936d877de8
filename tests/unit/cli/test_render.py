"""Tables and texts of commands: as wide as the window, one row each in a pipe, and plain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.factories import make_key, put_verdict
from tuneonce.cli._render import size
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2, 0.19, 0.21), 128: (0.1, 0.09, 0.11), 256: ()}
LONG = "fla.ops.common.chunk_delta_h"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0.0 KB"),
        (400, "0.4 KB"),
        (17 << 20, "17 MB"),
        ((1 << 30) - 1, "1,024 MB"),
        (6 << 29, "3.0 GB"),
        (5 << 40, "5,120 GB"),
    ],
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("words", [["ls"], ["show", "k" * 50], ["rm", "--all"]])
def test_tables_fit_eighty_columns(tell: Tell, store: FileStore, words: list[str]) -> None:
    tuning = {f"{name}.dtype": "torch.bfloat16" for name in ("q", "k", "v", "gates", "initial")}
    for n in (1, 10**9):
        put_verdict(store, make_key("k" * 50, module=LONG, tuning={"n": n, **tuning}), TIMES)
    said = tell(*words)
    location = store.describe().location
    assert max(len(line) for line in said.out.splitlines() if location not in line) <= 80


def test_in_a_pipe_each_record_is_one_row(tell: Tell, store: FileStore) -> None:
    tuning = {f"{name}.dtype": "torch.bfloat16" for name in ("q", "k", "v", "gates", "initial")}
    for n in range(3):
        put_verdict(store, make_key("k" * 50, module=LONG, tuning={"n": n, **tuning}), TIMES)
    rows = [line for line in tell("ls").out.splitlines() if "q=bf16" in line]
    assert [line.split()[0] for line in rows] == ["n=0", "n=1", "n=2"]
    assert all("initial=bf16" in line and "2.00×" in line for line in rows)
    shown = tell("show", "k" * 50).out.splitlines()
    assert len([line for line in shown if "BLOCK=128 num_warps=4" in line]) == 3
    (row,) = [line for line in tell("rm", "--all").out.splitlines() if "k" * 50 in line]
    assert row.split()[-3:] == ["3", "0", "0"]


def test_text_from_records_steers_no_terminal(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(module="evil\x1b[31m", tuning={"s": "[red]\x07\n"}), TIMES)
    for words in (["ls"], ["show", "add"], ["rm", "--all"]):
        out = tell(*words).out
        assert "evil\\x1b[31m" in out.replace("\n", "")
        assert not {char for char in out if not char.isprintable()} - {"\n"}
    assert "s=[red]\\x07\\n" in tell("ls").out


def test_a_stdout_without_unicode(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key(), TIMES)
    for words in (["ls"], ["show", "add"], ["ls", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "tuneonce", *words],
            env={
                **os.environ,
                "PYTHONIOENCODING": "ascii",
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"BLOCK=128" in done.stdout
    assert json.loads(done.stdout)["entries"]
