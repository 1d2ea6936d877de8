"""Whoever can write to a store makes kernels slower at most: records of every kind, changed anyhow.

Bytes and fields are changed under a right checksum, and read by launches and commands in a process
that is watched (`hostile_reader`): nothing is evaluated, imported, started, or opened or changed
outside of the store, nothing is raised, and a winner is one of the program's own candidates.

``HOSTILE_RECORDS`` says how many records are tried beside those that were made by hand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults.hostile import HEADERS, KINDS, NAMES, TOKENS, VALUES

ROOT = Path(__file__).parents[2]
RECORDS = int(os.environ.get("HOSTILE_RECORDS", "300"))
TOGETHER = 100

pytestmark = pytest.mark.slow

Plans = list[tuple[str, list[int]]]
Play = Callable[[Plans], list[str]]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Has a store with these records read; what was wrong."""
    folder = tmp_path_factory.mktemp("hostile")
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.hostile_reader", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    to, back = child.stdin, child.stdout

    def ask(plans: Plans) -> list[str]:
        to.write(json.dumps(plans) + "\n")
        to.flush()
        answer = back.readline()
        assert answer, "the reader has ended"
        found: list[str] = json.loads(answer)
        return found

    with child:
        yield ask
        to.close()
    assert child.returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["events", "store"]


NUMBER = st.integers(0, 1 << 20)
PLAN = st.tuples(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER).map(list)
PLANS = st.lists(
    st.tuples(st.sampled_from(sorted(KINDS)), PLAN), min_size=TOGETHER, max_size=TOGETHER
)


def together(plans: Plans) -> Iterator[Plans]:
    for start in range(0, len(plans), TOGETHER):
        yield plans[start : start + TOGETHER]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_value_in_every_field(play: Play, kind: str) -> None:
    """The corpus: what was made by hand, in turn over the fields."""
    plans: Plans = [
        (kind, [0, field * 7 + value, value, 0, 0])
        for value in range(len(VALUES))
        for field in range(2)
    ]
    plans += [(kind, [4, at * 37, token, at, 0]) for token in range(len(TOKENS)) for at in range(3)]
    plans += [(kind, [0, 0, 2, head, 1]) for head in range(len(HEADERS))]
    plans += [(kind, [0, 0, 2, 0, 3 + 16 * name]) for name in range(len(NAMES))]
    for some in together(plans):
        assert play(some) == []


def test_records_that_were_changed_anyhow(play: Play) -> None:
    tried = 0

    @settings(
        max_examples=max(1, RECORDS // TOGETHER),
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=True,
    )
    @given(PLANS)
    def change(plans: Plans) -> None:
        nonlocal tried
        tried += len(plans)
        assert play(plans) == []

    change()
    print(f"{tried} records were tried")
