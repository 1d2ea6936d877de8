"""Whatever stands in the events directory, the commands that read it end, and say it in plain text.

FUZZ_INPUTS is how many directories are made up; three hundred are run with the suite.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.factories import make_key, process, put_loose, put_verdict, resolved
from tuneonce.cli import main
from tuneonce.events.history import read_history
from tuneonce.events.log import SCHEMA
from tuneonce.inspect import workload
from tuneonce.inspect.listing import listing
from tuneonce.inspect.survey import survey
from tuneonce.store.files import FileStore

INPUTS = int(os.environ.get("FUZZ_INPUTS", "300"))

KEY, LOOSE = make_key(), make_key(tuning={"n": 1})
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 2**63, 1e308, float("nan"), float("inf"), True]),
)
# Surrogates, escape sequences, what turns text around, and what the records' own texts look like.
ODD = ["\x1b[2J", "\x1b]0;x\x07", "\ud800", "\u202e", "\r", "\n", "\x00", "[" * 200]
OURS = ["kernels:add", "c02", '["int","1"]', '["tuple"', "miss", "hit", "partial", KEY.digest]
TEXTS = st.one_of(st.text(max_size=12), st.sampled_from([*ODD, *OURS, LOOSE.digest]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    """t e schema pid started argv mode store kernel key key_text work_class outcome reason saved_s
    parts candidates what why detail seconds compile_s winner first_ms winner_ms worst_ms measured
    tune_s load_s sample_s fastest best regret noise wrong fixed passes provisional
    waited waited_s within loaded binaries ran looked_at classes unsteady apart distances disagrees
    left_out size constant constant_ms fastest_ms""".split()  # noqa: SIM905
)
KINDS = st.sampled_from(
    """resolve measure tune recheck compile load module_load wait replay restore borrow explore
    ready problem untuned outputs ?""".split()  # noqa: SIM905
)


BASES = [
    *[resolved(KEY, "miss"), resolved(KEY, "hit"), resolved(LOOSE, "partial")],
    *[{"e": "tune"}, {"e": "outputs"}, {}],
]


@st.composite
def lines(draw: Any) -> str:
    """One event of ours with some fields replaced, or anything."""
    base: dict[str, Any] = draw(st.sampled_from(BASES))
    value = {**base, **draw(st.dictionaries(FIELDS, VALUES, max_size=6))}
    if draw(st.booleans()):
        value["e"] = draw(KINDS)
    return json.dumps(value)


@st.composite
def files(draw: Any) -> bytes:
    head = {**process()[0], **draw(st.dictionaries(FIELDS, VALUES, max_size=3)), "schema": SCHEMA}
    text = "\n".join([json.dumps(head), *draw(st.lists(lines(), max_size=5))])
    raw = draw(
        st.sampled_from(["", "1e999", "[" * 1200, '{"a":' * 1200, "9" * 4400, "\x85\u2028", "{"])
    )
    data = bytearray((text + "\n" + raw).encode())
    for _ in range(draw(st.integers(0, 2))):  # what a disk may do
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


COMMANDS = [
    ["stats"],
    ["stats", "--json"],
    ["why", "add"],
    ["why", "add", "--json"],
    ["why", "nobody"],
    ["ls"],
    ["ls", "--json"],
    ["show", "add"],
    ["tune"],
    ["regret"],
    ["bits"],
]


@pytest.fixture(scope="module")
def store() -> Any:
    with tempfile.TemporaryDirectory() as directory:
        made = FileStore(Path(directory))
        put_verdict(made, KEY, {64: (0.2,), 128: (0.1,)})
        put_loose(made, LOOSE, 64, 0.2)
        yield made, directory


@pytest.mark.slow
@pytest.mark.timeout(300 + INPUTS)
@settings(max_examples=INPUTS, suppress_health_check=list(HealthCheck))
@given(st.lists(files(), max_size=2), st.sampled_from(COMMANDS))
def test_any_events(store: tuple[FileStore, str], written: list[bytes], words: list[str]) -> None:
    made, place = store
    event(" ".join(words))
    with tempfile.TemporaryDirectory() as directory:
        events = Path(directory)
        os.mkfifo(events / "20231114T221300.000000-1.jsonl")
        (events / "20231114T221301.000000-1.jsonl").symlink_to("/dev/zero")
        for number, data in enumerate(written):
            (events / f"20231114T2213{number + 2:02d}.000000-71.jsonl").write_bytes(data)
        os.environ |= {"TUNEONCE_STORE": place, "TUNEONCE_EVENTS": directory}
        if words[0] in ("tune", "regret", "bits"):
            out, err = json.dumps(added_up(words[0], made, events)), ""
        else:
            out, err = said(words)
    if "--json" in words:
        json.loads(out, parse_constant=pytest.fail)
    assert all(char.isprintable() or char == "\n" for char in out + err)


def added_up(command: str, store: FileStore, events: Path) -> Any:
    about: dict[str, Any] = {"command": [], "status": 0, "store": "", "seconds": 0.0}
    history = read_history(events)
    if command == "tune":
        return msgspec.to_builtins(workload.filled(history, **about))
    if command == "bits":
        return msgspec.to_builtins(survey(history, strict=True, **about))
    entries = listing(store).entries
    return msgspec.to_builtins(workload.regret(history, entries, fix=False, **about))


def said(words: list[str]) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        main(words)
    return out.getvalue(), err.getvalue()
